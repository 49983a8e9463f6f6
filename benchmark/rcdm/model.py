"""The diffusion model: diffusers' U-Net, told what a layer of a network makes of an image.

RCDM puts conditional batch normalisation in the place of a U-Net's normalisation layers (Bordes et al., 2022, section
3). Here they stay group normalisations; the second one of every residual block has its scale and shift from the time
step and the representation together (diffusers' resnet_time_scale_shift="scale_shift", Dhariwal and Nichol's adaptive
group normalisation): of the same kind, without statistics of a batch, so that a sample does not depend on those beside
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark import distributed
from benchmark.objectives.objective import full_precision
from benchmark.rcdm.config import DiffusionConfig

TIMES = 1000  # steps of the noising process

_GROUPS = 8
_MOST_WEIGHT = 5.0
_THIN = 64  # below this width, a model for CPUs: one block a level instead of two, attention on fewer positions
_ATTENTION = {True: 8, False: 16}  # thin or not: side of the largest map in which positions attend to each other
_HEAD = 32  # channels of an attention head
_LEAST_EMBEDDING = 256

#: Channels of the U-Net's levels, as multiples of its width, by the side of what it sees (after folding).
_LEVELS = {8: (1, 2), 16: (1, 2), 32: (1, 2, 2), 64: (1, 2, 3, 4), 128: (1, 1, 2, 3, 4)}


class Denoiser(nn.Module):
    """Predicts the clean image behind a noised one, given what a layer made of the clean one.

    Noise fills all dimensions of what the U-Net sees, images few of them: a narrow network can say what is clean, but
    not what is noise (Li and He, 2025, "Back to basics").
    """

    def __init__(self, run: DiffusionConfig, widths: Mapping[str, int]) -> None:
        """widths: features of each layer of ``run.layers``."""
        super().__init__()
        self.run, self.layers = run, tuple(run.layers)
        embedding = max(_LEAST_EMBEDDING, 4 * run.width)
        self.readers = nn.ModuleList(_Reader(widths[layer], embedding) for layer in self.layers)
        self.nothing = nn.Parameter(torch.zeros(embedding))  # the embedding of no condition
        self.unet = _unet(run, embedding)

    def forward(self, noisy: Tensor, times: Tensor, embedding: Tensor) -> Tensor:
        """noisy: (B, 3, S, S); times: int64 (B,) in [0, TIMES); embedding: (B, E), of `embed`. Returns float32
        (B, 3, S, S)."""
        folded = F.pixel_unshuffle(noisy, self.run.patch)
        seen = self.unet(folded, times, class_labels=embedding, return_dict=False)[0]
        return F.pixel_shuffle(seen.float(), self.run.patch)

    def embed(self, layer: str | None, features: Tensor) -> Tensor:
        """features: (B, d) of ``layer``, or any (B, ...) where ``layer`` is None, which is no condition. (B, E)."""
        if layer is None:
            return self.nothing.expand(len(features), -1)
        return self.readers[self.layers.index(layer)](features)

    def embed_mixed(self, features: Sequence[Tensor], which: Tensor) -> Tensor:
        """(B, E) where image b is conditioned on layer ``which[b]`` of ``layers``, or on nothing where that is -1.

        features: (B, d) of each layer. Every parameter takes part, so that ranks have the same gradients to sum.
        """
        mixed = torch.where((which < 0)[:, None], self.nothing, 0.0)
        for place, (reader, x) in enumerate(zip(self.readers, features, strict=True)):
            mixed = mixed + torch.where((which == place)[:, None], reader(x), 0.0)
        return mixed


class _Reader(nn.Module):
    """Features of a layer, standardised by what the training images have -> embedding."""

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.layers = nn.Sequential(nn.Linear(width, embedding), nn.SiLU(), nn.Linear(embedding, embedding))

    def standardise_by(self, features: Tensor) -> None:
        """features: (N, d). What hardly varies is not blown up: a feature's scale is at least a hundredth of the
        layer's."""
        deviation = features.std(dim=0)
        least = 0.01 * deviation.square().mean().sqrt()
        self.mean.copy_(features.mean(dim=0))
        self.scale.copy_(1 / deviation.clamp_min(torch.where(least > 0, least, torch.ones_like(least))))

    def forward(self, features: Tensor) -> Tensor:
        return self.layers((features - self.mean) * self.scale)


class Diffusion(nn.Module):
    """The training loss: noise images, have them predicted as they were.

    The squared error counts 1 / (share of noise), at most _MOST_WEIGHT: it is then that of the predicted velocity
    (Salimans and Ho, 2022), cut off where hardly any noise is left to be removed. Time steps are drawn in proportion to
    themselves: the noisier, the more often, as a condition is learnt from images whose noise hides what it tells.
    """

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.denoiser, self.scheduler = denoiser, scheduler()

    def forward(self, images: Tensor, features: Sequence[Tensor], autocast: torch.autocast) -> Tensor:
        """images: float32 (B, 3, S, S) in [-1, 1]; features: of each layer, (B, d). Returns a float32 scalar, the mean
        weighted squared error. Noise, times and which layer is shown are drawn from torch's generators."""
        count, device = len(images), images.device
        noise = torch.randn_like(images)
        times = (TIMES * torch.rand(count, device=device).sqrt()).long().clamp(max=TIMES - 1)  # a root may round to 1
        which = torch.randint(len(features), (count,), device=device)
        which[torch.rand(count, device=device) < self.denoiser.run.withheld] = -1
        with autocast:
            embedding = self.denoiser.embed_mixed(features, which)
            predicted = self.denoiser(self.scheduler.add_noise(images, noise, times), times, embedding)
        with full_precision(images):
            noise_share = 1 - self.scheduler.alphas_cumprod.to(device)[times]
            weight = (1 / noise_share).clamp(max=_MOST_WEIGHT)
            error = (predicted - images).square().mean(dim=(1, 2, 3))
            return distributed.mean((weight * error).mean())


def scheduler():
    """diffusers' DDPM, predicting clean images, with the cosine schedule: its last step is noise alone, so that a
    sample's mean colour is learnt (Lin et al., 2024)."""
    from diffusers import DDPMScheduler

    return DDPMScheduler(TIMES, beta_schedule="squaredcos_cap_v2", prediction_type="sample", clip_sample=True)


def _unet(run: DiffusionConfig, embedding: int) -> nn.Module:
    from diffusers import UNet2DModel  # seconds to import

    side = run.side // run.patch
    thin = run.width < _THIN
    channels = tuple(run.width * times for times in _LEVELS[side])
    attends = [side >> level <= _ATTENTION[thin] for level in range(len(channels))]
    folded = 3 * run.patch**2
    return UNet2DModel(
        sample_size=side,
        in_channels=folded,
        out_channels=folded,
        block_out_channels=channels,
        layers_per_block=1 if thin else 2,
        down_block_types=tuple("AttnDownBlock2D" if here else "DownBlock2D" for here in attends),
        up_block_types=tuple("AttnUpBlock2D" if here else "UpBlock2D" for here in reversed(attends)),
        attention_head_dim=_HEAD,
        norm_num_groups=_GROUPS,
        attn_norm_num_groups=_GROUPS,
        time_embedding_dim=embedding,
        resnet_time_scale_shift="scale_shift",
        class_embed_type="identity",
    )
