"""What is read layer by layer: trained networks, gr3d's and others', and controls that show what depth and pooling do
alone."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.models import build_network
from benchmark.models.foreign import ForeignNetwork, Request, open_foreign
from benchmark.models.libraries import find, pretrained
from benchmark.probes.results import PIXELS, TRAINED, UNTRAINED
from benchmark.training.config import RunConfig, to_dict
from benchmark.training.run import is_finished, load_checkpoint, load_run, read_config


@dataclass(frozen=True)
class Subject:
    """A feature extractor and what it is.

    network: a module with features(images float (B, 3, H, W) in [0, 1], pool) -> {layer: (B, d)}, in layer
    order, or what makes it when called. role: TRAINED, or the control it is: UNTRAINED or PIXELS. config: the run's
    settings, or what a foreign network is, kept with the results. data_spec: `spec` of the dataset it was trained on,
    None for none. unfinished_step: of its training, after which the checkpoint was written; None when the training is
    finished.
    """

    network: nn.Module | Callable[[], nn.Module]
    role: str = TRAINED
    config: dict = field(default_factory=dict)
    data_spec: dict | None = None
    unfinished_step: int | None = None

    def open(self) -> nn.Module:
        """The network. A foreign one is made anew each time, so that of many only the one being read is in memory."""
        return self.network if isinstance(self.network, nn.Module) else self.network()


def trained(run: Path, granularity: str = "stage") -> Subject:
    """The network of a run directory. UserError, as `load_run`, for no run or a checkpoint that does not fit."""
    network, config = load_run(run)
    network.granularity = granularity
    step = None if is_finished(run) else load_checkpoint(run).step
    return Subject(network, TRAINED, _as_json(config), read_config(run)["data"]["spec"], step)


def untrained(run: Path, granularity: str = "stage") -> Subject:
    """The network of `run` as it was before the first step; its BatchNorms, having seen no data, do nothing."""
    _, config = load_run(run)
    network = build_network(config.arch, config.stem, config.head, config.seed)
    network.granularity = granularity
    return Subject(network.eval(), UNTRAINED, _as_json(config))


def foreign_requests(
    models: Sequence[str], weights: Path | None = None, random: bool = False, **options: object
) -> dict[str, Request]:
    """{name in the results: request} for what `--model` says, each NAME=FILE, NAME=random or NAME.

    weights: file for the only plain NAME. random: every plain NAME is untrained. A plain NAME with neither has its
    library's own weights. The untrained form of every network with weights is added as its control. options: the other
    fields of Request. UserError (wrong usage) for options that contradict each other, and as `find` and `pretrained`.
    """
    plain = [text for text in models if "=" not in text]
    if weights and (random or len(plain) != 1):
        raise UserError("--weights: for one --model NAME without --random; of several, say --model NAME=FILE each", 2)
    if random and not plain:
        raise UserError("--random: no --model is left to be random, all of them name weights", 2)
    asked = []
    for text in models:
        name, given, source = text.partition("=")
        find(name)
        if source == "random" or (random and not given):
            asked.append(Request(name, **options))
        elif given and not source:
            raise UserError(f"--model {text}: after the = stands a FILE of weights, or random", 2)
        else:
            file = Path(source) if given else weights or pretrained(name)
            asked.append(Request(name, file, **options))
    named = {}
    shared = Counter(request.name for request in asked if request.weights)
    for request in asked:
        if request.weights:
            name = request.name if shared[request.name] == 1 else f"{request.name} ({request.weights.stem})"
            if name in named:
                raise UserError(f"--model {request.name}: two of its files are called {request.weights.stem}", 2)
            named[name] = request
    return {**named, **{f"untrained {request.name}": replace(request, weights=None) for request in asked}}


def foreign(name: str, request: Request, resolution: int | None) -> Subject:
    """A network of timm or torchvision; what it is, and what of its weights is not read, is said on stderr.

    resolution: side of the images it will see, None if not known. UserError as `open_foreign` and `ForeignNetwork`.
    """
    network = open_foreign(request)
    side = network.side_for(torch.zeros(1, 3, resolution, resolution)) if resolution else None
    print(f"{name}: {', '.join(_places(network))}", file=sys.stderr)
    for note in network.notes:
        print(f"warning: {name}: {request.weights}: {note}", file=sys.stderr)
    if side not in (None, resolution):
        print(f"{name}: is given the images of {resolution} x {resolution} at {side} x {side}", file=sys.stderr)
    config = {
        "model": request.name,
        "weights": str(request.weights) if request.weights else "random",
        "seed": None if request.weights else request.seed,
        "input": {**asdict(network.input), "asked_side": request.side, "resized_to": side},
        "modules": {tap.layer: tap.path for tap in network.taps},
        "notes": list(network.notes),
    }
    # Through JSON, so that it is as it reads back.
    role = TRAINED if request.weights else UNTRAINED
    return Subject(partial(open_foreign, request), role, json.loads(json.dumps(config)))


def _places(network: ForeignNetwork) -> list[str]:
    """`layer = module` of every layer, for people who know the network's source."""
    return [
        f"{tap.layer} = {'what ' * tap.reads_input}{tap.path or 'output'}{' reads' * tap.reads_input}"
        for tap in network.taps
    ]


def _as_json(config: RunConfig) -> dict:
    """As it reads back from a results file: lists for tuples."""
    return json.loads(json.dumps(to_dict(config)))


def pixels8() -> Subject:
    """No network at all: the image average-pooled to 8 x 8, 192 features in one layer called `pixels`."""
    return Subject(PooledPixels(8), PIXELS)


class PooledPixels(nn.Module):
    """Reads an image as its own average over side x side cells."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def features(self, x: Tensor, pool: int = 1) -> dict[str, Tensor]:
        """(B, 3, H, W) -> {"pixels": (B, 3 * side * side)}, whatever `pool` is."""
        return {"pixels": F.adaptive_avg_pool2d(x, self.side).flatten(1)}
