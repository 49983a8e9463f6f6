"""Any network of timm or torchvision, read layer by layer like one of gr3d's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.models.discovery import Tap, discover, reading
from benchmark.models.libraries import Input, expected_input, make
from benchmark.models.weights import classes, fit, read_state


@dataclass(frozen=True)
class Request:
    """A foreign network to be opened.

    name: "timm:NAME" or "torchvision:NAME". weights: file to load, None for random weights from `seed`. side: of the
    images it is given; None for the images as they are, resized to the network's own side only if it cannot take them.
    granularity: "stage" or "block", as in `discover`.
    """

    name: str
    weights: Path | None = None
    seed: int = 0
    side: int | None = None
    granularity: str = "stage"


class ForeignNetwork(nn.Module):
    """Reads `model` at `taps`. Input: (B, 3, H, W) float in [0, 1], RGB; resized and normalised inside.

    notes: what was left out of the weights, in words.
    """

    def __init__(self, request: Request, model: nn.Module, taps: tuple[Tap, ...], notes: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.request, self.model, self.taps, self.notes = request, model, taps, notes
        self.input = expected_input(request.name)
        self.register_buffer("mean", torch.tensor(self.input.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(self.input.std).view(1, 3, 1, 1), persistent=False)
        self._sides: dict[tuple[int, int], int | None] = {}

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(tap.layer for tap in self.taps)

    def features(self, x: Tensor, pool: int = 1) -> dict[str, Tensor]:
        """(B, 3, H, W) -> {layer: float32 (B, d)}, as `Network.features`. Of tokens, those of patches are averaged;
        class tokens and registers are left out. UserError if the network cannot take the images."""
        x = self._normalised(x, self.side_for(x))
        seen: dict[str, Tensor] = {}
        with reading(self.model, self.taps, pool, len(x), seen):
            self.model(x)
        return {layer: seen[layer] for layer in self.layers}

    def side_for(self, x: Tensor) -> int | None:
        """The side that images like `x` are resized to; None where they are taken as they are."""
        size = (x.shape[2], x.shape[3])
        if size not in self._sides:
            self._sides[size] = self._choose_side(x[:1])
        return self._sides[size]

    def _choose_side(self, image: Tensor) -> int | None:
        asked, own = self.request.side, self.input.side
        sides = [asked] if asked else [None, own]
        for side in sides:
            try:
                with torch.no_grad():
                    self.model(self._normalised(image, side))
                return side
            except torch.OutOfMemoryError:
                raise
            except (RuntimeError, AssertionError, ValueError, IndexError) as error:
                reason = (str(error) or type(error).__name__).splitlines()[0]
        name, shape = self.request.name, f"{image.shape[2]} x {image.shape[3]}"
        raise UserError(
            f"{name}: cannot take images of side {asked}; its own is {own} (--side {own}): {reason}"
            if asked
            else f"{name}: takes neither images of {shape} nor of its own side, {own}: {reason}"
        )

    def _normalised(self, x: Tensor, side: int | None) -> Tensor:
        if side and x.shape[2:] != (side, side):
            # The whole image: a crop, as on photographs, would cut off objects.
            x = F.interpolate(x, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
        return (x - self.mean) / self.std


def open_foreign(request: Request) -> ForeignNetwork:
    """The network of `request`, on the CPU in eval mode.

    UserError for a name that is unknown (with suggestions), a network that cannot be made or does not classify images,
    and weights that cannot be read or do not fit.
    """
    model = _random(request, None)
    taps = _discovered(request, model, expected_input(request.name))
    if request.weights is None:
        return ForeignNetwork(request, model, taps).eval()
    linear = [tap.path for tap in taps if tap.reads_input]
    state = read_state(request.weights)
    count = classes(model, state, linear[-1]) if linear else None
    if count and count != classes(model, model.state_dict(), linear[-1]):
        model = _random(request, count)
    fitted = fit(model, state, linear, request.weights)
    model.load_state_dict({**model.state_dict(), **fitted.state})
    return ForeignNetwork(request, model, _loaded(taps, linear, fitted.without), fitted.notes).eval()


def _random(request: Request, count: int | None) -> nn.Module:
    """With `count` classes, None for the library's number. The same for the same seed; the global generator is left
    untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(request.seed)
        return make(request.name, count).eval()


def _discovered(request: Request, model: nn.Module, takes: Input) -> tuple[Tap, ...]:
    """At the network's own size, so that its layers have the same names whatever images it is given."""
    image = torch.rand(1, 3, takes.side, takes.side, generator=torch.Generator().manual_seed(0))
    try:
        return discover(model, image, request.granularity)
    except Exception as error:  # whatever other people's code may raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"--model {request.name}: cannot be read as a network for images ({reason})") from error


def _loaded(taps: tuple[Tap, ...], linear: list[str], without: frozenset[str]) -> tuple[Tap, ...]:
    """The taps before the first linear layer of the classifier whose weights are missing. It is read as random
    otherwise."""
    missing = next((k for k, path in enumerate(linear) if any(name.startswith(f"{path}.") for name in without)), None)
    if missing is None:
        return taps
    return taps[: len(taps) - len(linear) + missing]
