"""Draws samples from diffusion models: for each image and layer, images that the layer does not tell from it."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark.errors import UserError
from benchmark.files import replacement
from benchmark.probes.features import weights_hash
from benchmark.probes.progress import Progress
from benchmark.probes.subjects import trained
from benchmark.rcdm.config import DiffusionConfig
from benchmark.rcdm.model import TIMES, Denoiser, scheduler
from benchmark.rcdm.train import COMMAND, read_config, read_features
from benchmark.rcdm.trainer import average, load_average
from benchmark.training.device import resolve_device, resolve_precision, use_own_cores
from benchmark.training.memory import keep_freed_memory
from benchmark.training.run import CHECKPOINT, CONFIG, is_finished, load_checkpoint, load_weights

FOLDER = "rcdm"  # in a run of gr3d train: where its diffusion models are, one folder each
STEPS = 50  # of DDIM (Song et al., 2021)

_AT_ONCE = 64  # samples
_NOTHING = "nothing"  # name of the unconditional ones in files


@dataclass(frozen=True)
class Model:
    """A trained model, with its averaged weights, in eval mode on ``device``."""

    denoiser: Denoiser
    config: DiffusionConfig
    folder: Path
    device: torch.device


def find_models(run: Path, folders: Sequence[Path], layers: Sequence[str]) -> dict[str, Path]:
    """Which folder has the model of each layer of ``layers`` ("all": every one that a model is there for), in the
    network's order.

    folders: to look in; empty for all below RUN/rcdm. UserError for a layer without a model, or with two.
    """
    network = trained(run).open()
    there = list(folders) or sorted(path.parent for path in (run / FOLDER).glob("*/config.json"))
    if not there:
        raise UserError(f"{run / FOLDER}: no diffusion model; train one: {COMMAND} {run} --layer trunk --data DIR")
    offers = {folder: read_config(folder)["run"].layers for folder in there}
    found = {}
    for layer in network.layers:
        having = [folder for folder in there if layer in offers[folder]]
        if layer in layers and not having:
            raise UserError(f"{run}: no diffusion model of layer {layer}; train one: {COMMAND} {run} --layer {layer}")
        if (layer in layers or "all" in layers) and having:
            if len(having) > 1:
                raise UserError(
                    f"{run}: {having[0]} and {having[1]} both have layer {layer}; say which: --rcdm {having[0]}", 2
                )
            found[layer] = having[0]
    if not found and "all" in layers:
        other = ", ".join(dict.fromkeys(layer for folder in there for layer in offers[folder]))
        raise UserError(f"{there[0]}: is of layers that the network of {run} has not ({other}); name another --rcdm")
    if unknown := [layer for layer in layers if layer != "all" and layer not in network.layers]:
        raise UserError(
            f"--layers {unknown[0]}: the network of {run} has no such layer; choose of {', '.join(network.layers)}", 2
        )
    return found


def ready_models(run: Path, folders: Sequence[Path], layers: Sequence[str], steps: int) -> dict[str, Path]:
    """As find_models, and all that can be refused before an image is read or drawn: UserError for steps that do not
    divide the model's own, for a model that is not trained to its end, and for one that looks into another network."""
    if steps < 1 or TIMES % steps:
        raise UserError(f"--steps {steps}: choose a divisor of {TIMES}, as 25, {STEPS} or 100", exit_code=2)
    found = find_models(run, folders, layers)
    weights = weights_hash(trained(run).open())
    for folder in dict.fromkeys(found.values()):
        if read_config(folder)["network"]["weights"] != weights:
            raise UserError(
                f"{folder}: was trained to look into another network; train one for this: {COMMAND}, another --out"
            )
        if not is_finished(folder):
            raise UserError(f"{folder}: is not trained to its end; {COMMAND} with --resume goes on")
    return found


def load_model(folder: Path, widths: Mapping[str, int], device: torch.device) -> Model:
    """widths: of the network's layers. UserError for a checkpoint that is damaged, or of layers of other widths."""
    config, checkpoint = read_config(folder)["run"], load_checkpoint(folder, COMMAND)
    if unknown := [layer for layer in config.layers if layer not in widths]:
        raise UserError(f"{folder / CONFIG}: is of layer {unknown[0]}, which the network has not")
    denoiser = Denoiser(config, {layer: widths[layer] for layer in config.layers})
    load_weights(denoiser, checkpoint.network, folder)
    ema = average(denoiser, config.ema)
    load_average(ema, checkpoint.teacher, folder)
    ema.copy_to(denoiser.parameters())
    if not all(values.isfinite().all() for values in denoiser.state_dict().values()):
        raise UserError(f"{folder / CHECKPOINT}: holds weights that are not finite")
    return Model(denoiser.to(device).eval(), config, folder, device)


def draw(model: Model, layer: str | None, features: Tensor, samples: int, steps: int = STEPS, seed: int = 0) -> Tensor:
    """Samples given what ``layer`` makes of N images: uint8 (N, samples, 3, S, S), on the CPU.

    features: float32 (N, d) of that layer; where ``layer`` is None, N samples' worth of anything, and the samples are
    unconditional. steps: of DDIM, a divisor of TIMES, deterministic but for the noise that it begins with. That noise
    depends on ``seed`` and the place in (N, samples) alone, so that a column shows the same noise under every layer.
    Progress goes to stderr.
    """
    count, side = len(features), model.config.side
    drawn = torch.empty((count * samples, 3, side, side), dtype=torch.uint8)
    noise = torch.randn(
        (count * samples, 3, side, side), generator=torch.Generator().manual_seed(seed), dtype=torch.float32
    )
    progress = Progress(f"samples given {layer or 'nothing'}", len(drawn))
    for start in range(0, len(drawn), _AT_ONCE):
        rows = slice(start, min(start + _AT_ONCE, len(drawn)))
        which = torch.arange(rows.start, rows.stop) // samples
        drawn[rows] = _denoised(model, layer, features[which], noise[rows], steps)
        progress.update(rows.stop - rows.start)
    progress.finish()
    return drawn.unflatten(0, (count, samples))


@torch.inference_mode()
def _denoised(model: Model, layer: str | None, features: Tensor, noise: Tensor, steps: int) -> Tensor:
    from diffusers import DDIMScheduler

    # "trailing" begins at the last time, where the model saw noise alone (Lin et al., 2024, section 3.3).
    ddim = DDIMScheduler.from_config(scheduler().config, timestep_spacing="trailing", set_alpha_to_one=True)
    ddim.set_timesteps(steps)
    device = model.device
    bf16 = model.config.precision == "bf16" and resolve_precision("auto", device) == "bf16"
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        embedding = model.denoiser.embed(layer, features.to(device))
        x = noise.to(device)
        for time in ddim.timesteps:
            predicted = model.denoiser(x, time.expand(len(x)).to(device), embedding)
            x = ddim.step(predicted, time, x).prev_sample
    return ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu()


@dataclass(frozen=True)
class Samples:
    """images: uint8 (N, 3, H, W), the conditioning ones. of: {layer: uint8 (N, K, 3, S, S)}; the layer None, if asked
    for, holds unconditional ones."""

    images: Tensor
    of: dict[str | None, Tensor]

    def save(self, path: Path, request: str = "") -> None:
        """As an .npz file of uint8 arrays: images, and a layer's samples under its name ("nothing": unconditional).
        request: what was asked for, for load_samples. UserError when it cannot be written."""
        arrays = {_NOTHING if layer is None else layer: drawn.numpy() for layer, drawn in self.of.items()}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacement(path) as file:
                np.savez(file, images=self.images.numpy(), request=np.array(request), **arrays)
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}); choose another --out") from error


def load_samples(path: Path, request: str) -> Samples | None:
    """What `Samples.save` wrote for the same request; None where there is nothing, or something else."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            if str(stored["request"]) != request:
                return None
            tensors = {name: torch.from_numpy(stored[name]) for name in stored.files if name != "request"}
            images = tensors.pop("images")
    # zipfile has a RuntimeError for what is encrypted, or packed in a way that it does not know.
    except (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, zipfile.BadZipFile):
        return None
    return Samples(images, {None if name == _NOTHING else name: drawn for name, drawn in tensors.items()})


def sample(
    run: Path,
    layers: Sequence[str],
    images: Tensor,
    *,
    folders: Sequence[Path] = (),
    samples: int = 6,
    steps: int = STEPS,
    seed: int = 0,
    unconditional: bool = False,
    device: str = "auto",
) -> Samples:
    """Samples given what each of ``layers`` of the network of RUN makes of ``images``, uint8 (N, 3, H, W).

    folders: see find_models. unconditional: whether samples given nothing are drawn, too, from the first model.
    UserError as ready_models and load_model, and for images smaller than what a model makes.
    """
    found = ready_models(run, folders, layers, steps)
    place = resolve_device(device)
    use_own_cores()
    if place.type == "cpu":
        keep_freed_memory()
    configs = {folder: read_config(folder)["run"] for folder in found.values()}
    for folder, config in configs.items():
        if config.side > min(images.shape[2:]):
            raise UserError(
                f"--images: {images.shape[2]} x {images.shape[3]}, smaller than the {config.side} pixels that the "
                f"model in {folder} makes",
                exit_code=2,
            )
    network = trained(run).open()
    told = {layer for config in configs.values() for layer in config.layers}
    features = read_features(network, images, tuple(x for x in network.layers if x in told), run.name, place)
    del network
    widths = {layer: values.shape[1] for layer, values in features.items()}
    of: dict[str | None, Tensor] = {}
    for model in [load_model(folder, widths, place) for folder in configs]:  # all are read before one has drawn
        for layer in (layer for layer in found if found[layer] == model.folder):
            of[layer] = draw(model, layer, features[layer], samples, steps, seed)
        if unconditional and None not in of:
            of[None] = draw(model, None, next(iter(features.values())), samples, steps, seed)
    ordered = {layer: of[layer] for layer in found}
    return Samples(images, ordered | ({None: of[None]} if unconditional else {}))
