"""Settings that work together, as named, typed values: RECIPES[scale][objective].

"small": images of about 64 x 64 pixels on a CPU, in minutes per epoch of ten thousand images. Simclr's and rotation's
numbers were tried (Figure 2 at that size); the other pairs of views take simclr's, with a teacher that follows faster
than the papers' (a few thousand steps are all there are), supervised and latents take rotation's.

"paper": of the paper itself (section 4.2, appendix B) are ResNet-50, the head of width 2048, AdamW, batches of 2048,
100 epochs and the kinds of augmentation. The rest are the defaults of its authors' code (FFCV-SSL,
examples/train_ssl.py): learning rate 5e-4 per 256 images, 10 epochs of warm-up, a cosine that ends at 1e-3 of the peak,
weight decay 4e-5, crops from 8 % of the area, blur on every first view, solarization of a fifth of the second ones;
Barlow Twins' lambda 0.0051, VICReg's 25, 25 and 1, the momentum of BYOL's teacher from 0.996 to 1; for SimCLR the
temperature 0.15 that its comments advise (its default is 0.5). The paper does not state the settings of its Figure 2,
so rotation's crops are ours.

Renders are never flipped: a mirrored object has another rotation. Photographs are: see `suited`. The rotation recipes
keep at least 60 % of the area, because the object must stay in the picture, and change colours, which leave the label
as it is.
"""

from collections.abc import Container
from dataclasses import replace

from benchmark.data.views import ViewSpec
from benchmark.models import stems
from benchmark.training.config import RunConfig, with_views

SMALL_SIDE = 32  # pixels, of CIFAR-10; a stem that quarters them leaves 1 x 1 for the last of four stages

_COLOUR = ViewSpec(jitter=(0.4, 0.4, 0.2, 0.1), jitter_p=0.8, grey_p=0.2)


def _pair(crop_scale: float, second_blur: float) -> tuple[ViewSpec, ViewSpec]:
    """Two views: blur on the first, on the second solarization and, with probability second_blur, blur."""
    first = replace(_COLOUR, crop_scale=(crop_scale, 1.0), blur_p=1.0)
    return first, replace(first, blur_p=second_blur, solarize_p=0.2)


# What reads the latents must see colours and places as they are; it is to read images that are less sharp, too.
_AS_THEY_ARE = (ViewSpec(crop_ratio=(1.0, 1.0), blur_p=0.3, blur_sigma=(0.1, 1.0)),)
_ROTATION_VIEWS = (replace(_COLOUR, crop_scale=(0.6, 1.0)),)

_SMALL = RunConfig(
    objective="simclr",
    arch="resnet18",
    stem="imagenet",
    head="mlp3",
    views=_pair(crop_scale=0.2, second_blur=0.1),  # as BYOL, Barlow Twins and VICReg have it
    epochs=12,
    batch=256,
    lr=1e-3,
    weight_decay=1e-4,
    warmup=0.1,
    temperature=0.2,
)
_SMALL_ROTATION = replace(_SMALL, objective="rotation", views=_ROTATION_VIEWS, epochs=21, batch=64, lr=5e-4)

SMALL = {
    "simclr": _SMALL,
    "rotation": _SMALL_ROTATION,
    "barlow-twins": replace(_SMALL, objective="barlow-twins"),
    "vicreg": replace(_SMALL, objective="vicreg"),
    "byol": replace(_SMALL, objective="byol", ema=0.99),
    "supervised": replace(_SMALL_ROTATION, objective="supervised", views=_SMALL.views[:1]),
    "latents": replace(_SMALL_ROTATION, objective="latents", views=_AS_THEY_ARE),
}

_PAPER = RunConfig(
    objective="simclr",
    arch="resnet50",
    stem="imagenet",
    head="mlp3",
    views=_pair(crop_scale=0.08, second_blur=0.0),
    epochs=100,
    batch=2048,
    lr=5e-4 * 2048 / 256,
    weight_decay=4e-5,
    warmup=0.1,
    temperature=0.15,
)

PAPER = {
    "simclr": _PAPER,
    "rotation": replace(_PAPER, objective="rotation", views=_ROTATION_VIEWS),
    "barlow-twins": replace(_PAPER, objective="barlow-twins", redundancy=0.0051),
    "vicreg": replace(_PAPER, objective="vicreg", vicreg=(25.0, 25.0, 1.0)),
    "byol": replace(_PAPER, objective="byol", ema=0.996),
    "supervised": replace(_PAPER, objective="supervised", views=_PAPER.views[:1]),
    "latents": replace(_PAPER, objective="latents", views=_AS_THEY_ARE),
}

RECIPES = {"small": SMALL, "paper": PAPER}


def suited(run: RunConfig, given: Container[str], photographs: bool, side: int) -> tuple[RunConfig, list[str]]:
    """A recipe's run for the images there are, and what was changed, in words.

    Photographs (whatever has no latents) are mirrored in every view, as in the authors' code, and those of up to
    SMALL_SIDE pixels get a ResNet's small stem, as is usual for CIFAR-10. Renders keep the recipe. given: what the user
    decided, of "flip" and "stem"; side: of the images, the shorter one.
    """
    changes = []
    if photographs and "flip" not in given:
        run = with_views(run, flip=True)
        changes.append("mirrored at random (--no-flip)")
    if photographs and "stem" not in given and side <= SMALL_SIDE and "small" in stems(run.arch):
        run = replace(run, stem="small")
        changes.append(f"stem small for a side of {side} (--stem imagenet)")
    return run, changes


def batch_for(images: int | None, recipe: int) -> int:
    """The recipe's batch; where four of those do not fit into an epoch, the largest power of two of which four do."""
    if images is None or images >= 4 * recipe:  # None: not known, so that training says why
        return recipe
    return max(2, 1 << max(images // 4, 1).bit_length() - 1)
