"""Reads weights that others stored, without running code from the file, and fits them into a network."""

from __future__ import annotations

import argparse
import pickle
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from benchmark.errors import UserError, first_line

# Where checkpoints keep the weights, the ones to take first. An average of the weights is what their authors evaluate.
_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "teacher", "network", "student")
_COUNTER = "num_batches_tracked"  # plays no part in reading, and old checkpoints lack it


@dataclass(frozen=True)
class Fitted:
    """Weights under the network's own names. notes: what of the file was left out, in words. without: names of the
    network's entries that the file lacks, all of the classifier."""

    state: dict[str, Tensor]
    notes: tuple[str, ...] = ()
    without: frozenset[str] = frozenset()


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of a state dict saved by torch, also within a larger checkpoint.

    UserError for a file that is missing, damaged, of another kind, or that holds pickled code, which is not run.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file of weights")
    try:
        state = safetensors.torch.load_file(path) if _is_safetensors(path) else _unwrapped(_torch_load(path))
    except safetensors.SafetensorError as error:
        raise UserError(f"{path}: damaged or cut off ({first_line(error)}); copy or download it again") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not state:
        raise UserError(f"{path}: holds no state dict; give one as safetensors or as torch.save(model.state_dict())")
    return state


def fit(network: nn.Module, state: Mapping[str, Tensor], classifier: Sequence[str], path: Path) -> Fitted:
    """Give each entry of `network` its tensor of `state`, whatever prefix the names have there.

    classifier: paths of the modules that make up the classifier; what the file lacks of them, or has besides them, is
    left out and said. Everything else must fit: UserError naming the first entry of `path` that does not.
    """
    own = network.state_dict()
    prefix = _prefix(own, state)
    given = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    try:
        return _matched(own, given, classifier, path, len(state) - len(given))
    except UserError as error:
        converted = _by_timm(network, given)
        try:
            return _matched(own, converted, classifier, path, len(state) - len(given))
        except UserError:
            raise error from None


def classes(network: nn.Module, state: Mapping[str, Tensor], classifier: str) -> int | None:
    """How many classes the last linear layer, `classifier`, has in `state`; None if it is not there."""
    own = network.state_dict()
    weight = state.get(_prefix(own, state) + classifier + ".weight")
    return None if weight is None or weight.dim() != own[classifier + ".weight"].dim() else len(weight)


def _matched(
    own: Mapping[str, Tensor], given: Mapping[str, Tensor], classifier: Sequence[str], path: Path, outside: int
) -> Fitted:
    def of_classifier(name: str) -> bool:
        return any(name.startswith(f"{part}.") for part in classifier)

    state, without, unread = {}, [], []
    for name, value in own.items():
        theirs = given.get(name)
        if theirs is None and of_classifier(name):
            without.append(name)
        elif theirs is None and name.endswith(_COUNTER):
            state[name] = value
        elif theirs is None or theirs.shape != value.shape:
            raise UserError(
                f"{path}: does not fit the network: '{name}' is {_shape(theirs)} in the file and {_shape(value)} in "
                "the network; name the architecture that it is of"
            )
        else:
            state[name] = theirs
    for name in given:
        if name not in own and of_classifier(name):
            unread.append(name)
        elif name not in own and not name.endswith(_COUNTER):
            raise UserError(
                f"{path}: does not fit the network: '{name}' is {_shape(given[name])} in the file and absent in the "
                "network; name the architecture that it is of"
            )
    notes = [f"it has no {', '.join(without)}: the classifier is not read"] if without else []
    if unread or outside:
        notes.append(f"{len(unread) + outside} entries of it belong to no layer of this network and are not read")
    return Fitted(state, tuple(notes), frozenset(without))


def _prefix(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """What stands before the network's own names in `state`, as "module." or "backbone.": with it most of them fit."""
    found: Counter[str] = Counter()
    for name in state:
        parts = name.split(".")
        for cut in range(len(parts)):
            if ".".join(parts[cut:]) in own:
                found["".join(f"{part}." for part in parts[:cut])] += 1
    return max(found, key=found.__getitem__, default="")


def _by_timm(network: nn.Module, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """What timm makes of the names in the authors' original checkpoints of this network, where it knows them."""
    rename = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if rename is None:
        return state
    try:
        return rename(dict(state), network)
    except Exception:  # written for the checkpoints that it knows, not for any file
        return state


def _is_safetensors(path: Path) -> bool:
    """By its content: eight bytes of length, then JSON."""
    with path.open("rb") as file:
        return path.suffix == ".safetensors" or file.read(9)[8:] == b"{"


def _torch_load(path: Path) -> object:
    try:
        # timm's and DINO's checkpoints hold the options of their command line, an inert class.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError) as error:
        if _is_pickle(path) and any(word in str(error) for word in ("GLOBAL", "Unsupported", "TorchScript")):
            raise UserError(
                f"{path}: holds pickled code, which is not run; where you trust it, save what it holds with "
                "torch.save(model.state_dict()) or as safetensors"
            ) from error
        raise UserError(f"{path}: damaged, or not a file of weights ({first_line(error)})") from error


def _is_pickle(path: Path) -> bool:
    """Whether it begins as a pickle, or as the zip file that torch puts one into."""
    with path.open("rb") as file:
        return file.read(2) in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def _unwrapped(stored: object) -> dict[str, Tensor]:
    """The tensors by name: `stored` itself or the dict within it that holds them."""
    while isinstance(stored, dict):
        tensors = {str(name): value for name, value in stored.items() if isinstance(value, Tensor)}
        if tensors:
            return tensors
        dicts = {name: value for name, value in stored.items() if isinstance(value, dict) and value}
        stored = next((dicts[name] for name in _WRAPPERS if name in dicts), next(iter(dicts.values()), None))
    return {}


def _shape(value: Tensor | None) -> str:
    return "absent" if value is None else " x ".join(map(str, value.shape)) or "a scalar"
