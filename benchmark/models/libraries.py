"""What timm and torchvision have: names of networks, how to make one, what input it expects, where its weights are."""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from torch import nn

from benchmark.errors import UserError

_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Input:
    """What a network was made for: side of its square images in pixels, and the channels' mean and deviation, of images
    in [0, 1]."""

    side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


class Library(Protocol):
    """Networks by name. `classes`: None for as many as the library's own weights have."""

    def names(self) -> Sequence[str]: ...

    def make(self, name: str, classes: int | None) -> nn.Module: ...

    def input(self, name: str) -> Input: ...

    def download(self, name: str) -> Path: ...


class Timm:
    """Names as `timm.list_models` gives them, also with the tag of a training: resnet50.a1_in1k."""

    def names(self) -> Sequence[str]:
        import timm

        return timm.list_models()

    def make(self, name: str, classes: int | None) -> nn.Module:
        import timm

        return timm.create_model(name, **({} if classes is None else {"num_classes": classes}))

    def input(self, name: str) -> Input:
        import timm

        values = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
        return Input(values["input_size"][-1], tuple(values["mean"]), tuple(values["std"]))

    def download(self, name: str) -> Path:
        import timm
        from huggingface_hub import hf_hub_download

        found = timm.get_pretrained_cfg(name)
        if not found.hf_hub_id:
            raise ValueError("timm knows of no weights for it")
        return Path(hf_hub_download(found.hf_hub_id, found.hf_hub_filename or "model.safetensors"))


class Torchvision:
    """The classification networks of `torchvision.models`."""

    def names(self) -> Sequence[str]:
        from torchvision import models

        return models.list_models(module=models)

    def make(self, name: str, classes: int | None) -> nn.Module:
        from torchvision import models

        with warnings.catch_warnings():  # of GoogLeNet and Inception, on how they will be initialised one day
            warnings.simplefilter("ignore", FutureWarning)
            return models.get_model(name, weights=None, **({} if classes is None else {"num_classes": classes}))

    def input(self, name: str) -> Input:
        from torchvision import models

        # Of some there are weights for several sizes; made without weights, they are of the smallest.
        found = [weights.transforms() for weights in models.get_model_weights(name)]
        smallest = min(found, key=lambda transforms: transforms.crop_size[0])
        return Input(smallest.crop_size[0], tuple(smallest.mean), tuple(smallest.std))

    def download(self, name: str) -> Path:
        import torch
        from torchvision import models

        url = models.get_model_weights(name).DEFAULT.url
        path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            digest = re.search(r"-([0-9a-f]{8,})\.", path.name)
            torch.hub.download_url_to_file(url, str(path), digest and digest[1], progress=False)
        return path


LIBRARIES: dict[str, Library] = {"timm": Timm(), "torchvision": Torchvision()}


def find(name: str) -> tuple[Library, str]:
    """The library and its own name of "timm:NAME" or "torchvision:NAME". UserError (wrong usage), with suggestions, for
    a name that is in neither."""
    prefix, _, arch = name.partition(":")
    if prefix not in LIBRARIES:
        known = [f"{prefix}:{arch}" for prefix, library in LIBRARIES.items() for arch in library.names()]
        raise UserError(
            f"--model {name}: give timm:NAME or torchvision:NAME{_suggest(name.rpartition(':')[2], known)}", 2
        )
    library = LIBRARIES[prefix]
    if arch.partition(".")[0] not in library.names():
        known = [f"{prefix}:{other}" for other in library.names()]
        raise UserError(f"--model {name}: {prefix} has no such network{_suggest(arch, known)}", 2)
    return library, arch


def make(name: str, classes: int | None = None) -> nn.Module:
    """The network at random, from torch's generator. UserError if its library refuses."""
    library, arch = find(name)
    return _asked(name, "cannot be made", lambda: library.make(arch, classes))


def expected_input(name: str) -> Input:
    """As `Library.input`. UserError if the library does not say."""
    library, arch = find(name)
    return _asked(name, "its library does not say what images it takes", lambda: library.input(arch))


def pretrained(name: str) -> Path:
    """The file of the library's own pretrained weights, downloaded unless it was before. UserError, with the ways out,
    where that cannot be done."""
    library, arch = find(name)
    way_out = "its pretrained weights cannot be had here; give --weights FILE, or --random for an untrained network"
    return _asked(name, way_out, lambda: library.download(arch))


def _asked(name: str, failure: str, ask: Callable[[], _Answer]) -> _Answer:
    try:
        return ask()
    except Exception as error:  # whatever other people's code may raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"--model {name}: {failure} ({reason})") from error


def _suggest(arch: str, known: Sequence[str]) -> str:
    """`; did you mean ...`: the names that look most alike."""
    by_arch: dict[str, list[str]] = {}
    for name in known:
        by_arch.setdefault(name.partition(":")[2], []).append(name)
    close = difflib.get_close_matches(arch, by_arch, n=4, cutoff=0.5)
    names = [name for found in close for name in by_arch[found]]
    return f"; did you mean {', '.join(names)}?" if names else ""
