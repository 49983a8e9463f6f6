"""Settings that work together, as named, typed values: RECIPES[scale][objective].

"small": images of about 64 x 64 pixels on a CPU, in minutes per epoch of ten thousand images. "paper": the paper's
network (ResNet-50, head of width 2048) with the defaults of its authors' code (FFCV-SSL): AdamW, learning rate 5e-4
per 256 images, 10 of 100 epochs of warm-up, weight decay 4e-5, crops from 8 % of the area. The paper does not state
the settings of its Figure 2.

Renders are never flipped: a mirrored object has another rotation. The rotation recipe keeps at least 60 % of the area,
because the object must stay in the picture, and changes colours, which leave the label as it is.
"""

from dataclasses import replace

from benchmark.data.views import ViewSpec
from benchmark.training.config import RunConfig

_COLOUR = ViewSpec(jitter=(0.4, 0.4, 0.2, 0.1), jitter_p=0.8, grey_p=0.2)


def _simclr_views(crop_scale: float) -> tuple[ViewSpec, ViewSpec]:
    """Blur on (nearly) every first view, solarization on the second only, as BYOL, Barlow Twins and VICReg do."""
    first = replace(_COLOUR, crop_scale=(crop_scale, 1.0), blur_p=1.0)
    return first, replace(first, blur_p=0.1, solarize_p=0.2)


_ROTATION_VIEWS = (replace(_COLOUR, crop_scale=(0.6, 1.0)),)

SMALL = {
    "simclr": RunConfig(
        objective="simclr",
        arch="resnet18",
        stem="imagenet",
        head="mlp3",
        views=_simclr_views(crop_scale=0.2),
        epochs=12,
        batch=256,
        lr=1e-3,
        weight_decay=1e-4,
        warmup=0.1,
        temperature=0.2,
    ),
    "rotation": RunConfig(
        objective="rotation",
        arch="resnet18",
        stem="imagenet",
        head="mlp3",
        views=_ROTATION_VIEWS,
        epochs=21,
        batch=64,
        lr=5e-4,
        weight_decay=1e-4,
        warmup=0.1,
    ),
}

PAPER = {
    "simclr": RunConfig(
        objective="simclr",
        arch="resnet50",
        stem="imagenet",
        head="mlp3",
        views=_simclr_views(crop_scale=0.08),
        epochs=100,
        batch=1024,
        lr=2e-3,
        weight_decay=4e-5,
        warmup=0.1,
        temperature=0.15,
    ),
    "rotation": RunConfig(
        objective="rotation",
        arch="resnet50",
        stem="imagenet",
        head="mlp3",
        views=_ROTATION_VIEWS,
        epochs=100,
        batch=1024,
        lr=2e-3,
        weight_decay=4e-5,
        warmup=0.1,
    ),
}

RECIPES = {"small": SMALL, "paper": PAPER}
