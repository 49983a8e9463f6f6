"""Finds the layers of any image network by watching one forward pass: its stages, its pooled feature, its classifier.

What is watched is the tree of module calls with the tensors that go in and out, not names or source code:

* The body is opened until no part of it lowers the resolution by more than one halving or holds nearly all of the
  network. What is left, in the order of the calls, are the parts: stages, or single blocks, or single convolutions.
* Parts of the same resolution that follow one another are a stage, read where it ends. A network of one resolution (a
  transformer, a mixer) has no such stages: there every block is one.
* What comes before the first part that holds several weighted layers is the stem; what comes after the last (norms,
  a last convolution) belongs to the trunk.
* The classifier is the chain of linear layers that ends the pass, on one vector per image. The trunk is what it reads.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby, pairwise

import torch
from torch import Tensor, nn

from benchmark.models.network import pooled

_BODY = 0.85  # share of the weighted layers from which a part is the body itself
_MORE_THAN_A_HALVING = 6.0  # 4, and room for odd sides: a 3 x 3 convolution of stride 2 makes 149 of 299
_STEM_WORDS = ("stem", "embed")


@dataclass(frozen=True)
class Tap:
    """Where a layer is read.

    layer: its name. path: of the module, "" for the network itself; call: which of the module's calls in a forward
    pass, from 0. reads_input: what goes into the module is read, not what comes out. layout: "map" (B, C, h, w),
    "map_last" (B, h, w, C), "tokens" (B, prefix + h * w, C), whose first `prefix` (class token, registers) are left
    out, or "vector" (B, d), which is a flattened map where flat is its (C, h, w).
    """

    layer: str
    path: str
    call: int = 0
    reads_input: bool = False
    layout: str = "vector"
    prefix: int = 0
    flat: tuple[int, int, int] | None = None

    def read(self, value: Tensor, pool: int) -> Tensor:
        """float32 (B, d): averaged over pool x pool cells, as in `Network.features`."""
        if self.layout == "map_last":
            value = value.permute(0, 3, 1, 2)
        elif self.layout == "tokens":
            value = value[:, self.prefix :].transpose(1, 2)
            side = math.isqrt(value.shape[2])
            value = value.unflatten(2, (side, side) if side * side == value.shape[2] else (-1, 1))
        elif self.flat:
            value = value.unflatten(1, self.flat)
        elif self.layout == "vector":
            value = value.flatten(1)
        return pooled(value, pool)


@dataclass
class _Call:
    """One call of a module: what went in and came out (a tensor of each, see _tensor), and the calls within it."""

    path: str
    module: nn.Module
    number: int
    taken: Tensor | None
    output: Tensor | None = None
    inner: list[_Call] = field(default_factory=list)

    @property
    def weights(self) -> int:
        """How many calls within hold a matrix or a kernel of their own."""
        own = any(parameter.dim() > 1 for parameter in self.module.parameters(recurse=False))
        return own + sum(call.weights for call in self.inner)

    def leaves(self) -> Iterator[_Call]:
        if not self.inner:
            yield self
        for call in self.inner:
            yield from call.leaves()


def discover(network: nn.Module, image: Tensor, granularity: str = "stage") -> tuple[Tap, ...]:
    """The taps of `network`, which is in eval mode, in the order of its forward pass on `image` (1, 3, H, W).

    Layers: stem, block1, block2, ..., trunk, head1, ... (the last one is the network's output). granularity "block":
    every block of a stage, as block1.1, block1.2, ... ValueError if the output is not one vector per image.
    """
    root = _watch(network, image)
    if root.output is None or root.output.dim() != 2:
        shape = "no tensor" if root.output is None else " x ".join(map(str, root.output.shape))
        raise ValueError(f"its output is {shape}, not a vector per image")
    parts = _parts(root)
    body = _body(parts)
    stem, stages = _stages(body)
    units = [_units(stage) if granularity == "block" else [_end(stage)] for stage in stages]
    split = any(len(unit) > 1 for unit in units)
    named = [("stem", stem[-1])] if stem else []
    for number, unit in enumerate(units, 1):
        named += [(f"block{number}.{k}" if split else f"block{number}", call) for k, call in enumerate(unit, 1)]
    channels_last = _channels_last([call for _, call in named])
    taps = [_tap(layer, call, call.output, channels_last) for layer, call in named]
    return (*taps, *_ends(root, body[-1] if body else None))


@contextmanager
def reading(network: nn.Module, taps: Sequence[Tap], pool: int, batch: int, seen: dict[str, Tensor]) -> Iterator[None]:
    """While it is open, a forward pass of `network` on `batch` images puts what the taps read into `seen`.

    It is averaged at once: what comes later in the network may work in place.
    """
    calls: Counter[str] = Counter()
    handles = []

    def watch(path: str, module: nn.Module, mine: list[Tap]) -> None:
        def before(_: nn.Module, args: tuple, kwargs: dict) -> None:
            for tap in mine:
                if tap.reads_input and tap.call == calls[path]:
                    seen[tap.layer] = tap.read(_tensor((args, kwargs), batch), pool)

        def after(_: nn.Module, args: tuple, kwargs: dict, output: object) -> None:
            for tap in mine:
                if not tap.reads_input and tap.call == calls[path]:
                    seen[tap.layer] = tap.read(_tensor(output, batch), pool)
            calls[path] += 1

        handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(module.register_forward_hook(after, with_kwargs=True))

    for path in dict.fromkeys(tap.path for tap in taps):
        watch(path, network.get_submodule(path), [tap for tap in taps if tap.path == path])
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def _watch(network: nn.Module, image: Tensor) -> _Call:
    """The tree of calls of one forward pass. It holds the tensors, so that none can be taken for another."""
    top = _Call("", nn.Module(), 0, None)
    open_calls, numbers, handles = [top], Counter(), []

    def watch(path: str, module: nn.Module) -> None:
        def before(_: nn.Module, args: tuple, kwargs: dict) -> None:
            call = _Call(path, module, numbers[path], _tensor((args, kwargs), len(image)))
            numbers[path] += 1
            open_calls[-1].inner.append(call)
            open_calls.append(call)

        def after(_: nn.Module, args: tuple, kwargs: dict, output: object) -> None:
            open_calls.pop().output = _tensor(output, len(image))

        handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(module.register_forward_hook(after, with_kwargs=True))

    for path, module in network.named_modules():
        watch(path, module)
    try:
        network(image)
    finally:
        for handle in handles:
            handle.remove()
    return top.inner[0]


def _parts(root: _Call) -> list[_Call]:
    """What the body is made of, in order: the calls within `root`, opened as the module's docstring says."""
    parts = list(root.inner)
    while opened := next((part for part in parts if _opens(part, root.weights)), None):
        place = parts.index(opened)
        parts[place : place + 1] = opened.inner
    return parts


def _opens(part: _Call, weights: int) -> bool:
    if not part.inner or not part.weights:
        return False
    if part.weights > _BODY * weights:
        return True
    before, after = _positions(part.taken), _positions(part.output)
    return after > 1 and before / after > _MORE_THAN_A_HALVING


def _body(parts: list[_Call]) -> list[_Call]:
    """The parts that make maps or token sequences, up to the last that holds several weighted layers (to the last that
    holds any, where each holds at most one)."""
    maps = [part for part in parts if _positions(part.output) > 1 and len(part.output) == len(parts[0].output)]
    several = [place for place, part in enumerate(maps) if part.weights > 1]
    any_at_all = [place for place, part in enumerate(maps) if part.weights]
    if several:
        return maps[: several[-1] + 1]
    # A convolution's ReLU and norm belong to it, the pooling after them does not.
    last = any_at_all[-1] if any_at_all else -1
    size = _positions(maps[last].output) if maps else 0
    return [part for place, part in enumerate(maps) if place <= last or _positions(part.output) == size]


def _stages(body: list[_Call]) -> tuple[list[_Call], list[list[_Call]]]:
    """(stem, stages): runs of parts of one resolution; where there is only one run, its blocks."""
    first = next((place for place, part in enumerate(body) if part.weights > 1 and not _is_stem(part)), 0)
    stem, rest = body[:first], body[first:]
    runs = [list(run) for _, run in groupby(rest, key=lambda part: _positions(part.output))]
    runs = [run for run in runs if any(part.weights for part in run)]
    return stem, [[block] for block in _units(runs[0])] if len(runs) == 1 else runs


def _is_stem(part: _Call) -> bool:
    """By its name, or as a plain chain of convolutions (the deep stem of ResNet-D)."""
    named = any(word in part.path.lower() for word in _STEM_WORDS)
    return named or (
        isinstance(part.module, nn.Sequential) and not any(call.inner for call in part.inner if call.weights)
    )


def _end(stage: list[_Call]) -> _Call:
    """Where a stage is read: at the last part of several weighted layers, else at the last part."""
    return next((part for part in reversed(stage) if part.weights > 1), stage[-1])


def _units(stage: list[_Call]) -> list[_Call]:
    """Every block of a stage; where there are none, every weighted layer with the norms and activations after it."""
    blocks = [block for part in stage if part.weights > 1 for block in _blocks(part)]
    if blocks:
        return blocks
    heads = [place for place, part in enumerate(stage) if part.weights]
    return [stage[after - 1] for after in (*heads[1:], len(stage))]


def _blocks(part: _Call) -> list[_Call]:
    """`part`, or the blocks that it is a plain chain of: each takes what the one before it gave."""
    chain = [call for call in part.inner if call.weights]
    if not chain or any(call.weights < 2 for call in chain[1:]) or chain[-1].weights < 2:
        return [part]
    joined = all(_same(one.output, other.taken) for one, other in pairwise(chain))
    if not joined or (len(chain) == 1 and not _same(part.output, chain[0].output)):
        return [part]
    blocks = [block for call in chain if call.weights > 1 for block in _blocks(call)]
    return blocks if len(blocks) > 1 else [part]


def _ends(root: _Call, last: _Call | None) -> list[Tap]:
    """Taps of the trunk and of the classifier, which follow the part `last`."""
    leaves = list(root.leaves())
    inside = list(last.leaves()) if last else []
    after = leaves[1 + max(k for k, leaf in enumerate(leaves) if leaf is inside[-1]) :] if inside else leaves
    linear = [leaf for leaf in after if isinstance(leaf.module, nn.Linear) and _positions(leaf.taken) == 1]
    linear = [leaf for leaf in linear if leaf.taken.dim() == 2]
    if linear:
        # The first that gives the output: of two classifiers whose answers are averaged, the class token's (DeiT).
        width = root.output.shape[1]
        place = next((k for k, leaf in enumerate(linear) if leaf.module.out_features == width), len(linear) - 1)
        chain = [linear[place]]
        while place and linear[place - 1].module.out_features == chain[0].module.in_features:
            place -= 1
            chain.insert(0, linear[place])
        trunk = Tap("trunk", chain[0].path, chain[0].number, reads_input=True, flat=_flat(leaves, chain[0].taken))
        hidden = [Tap(f"head{k}", call.path, call.number, reads_input=True) for k, call in enumerate(chain[1:], 1)]
        return [trunk, *hidden, Tap(f"head{len(chain)}", "")]
    weighted = [leaf for leaf in after if leaf.weights]
    if weighted and isinstance(weighted[-1].module, nn.Conv2d):  # a 1 x 1 convolution gives the classes
        final = weighted[-1]
        return [Tap("trunk", final.path, final.number, reads_input=True, layout="map"), Tap("head1", "")]
    return [Tap("trunk", "")]


def _flat(leaves: Sequence[_Call], vector: Tensor) -> tuple[int, int, int] | None:
    """(C, h, w) if the vector is the last map, flattened (as in AlexNet and VGG)."""
    last = next((leaf.output for leaf in reversed(leaves) if _positions(leaf.output) > 1), None)
    if last is None or last.dim() != 4 or last[0].numel() != vector.shape[1]:
        return None
    return tuple(last.shape[1:])


def _tap(layer: str, call: _Call, value: Tensor, channels_last: bool) -> Tap:
    if value.dim() == 3:
        side = math.isqrt(value.shape[1])
        return Tap(layer, call.path, call.number, layout="tokens", prefix=value.shape[1] - side * side)
    return Tap(layer, call.path, call.number, layout="map_last" if channels_last else "map")


def _channels_last(calls: Sequence[_Call]) -> bool:
    """Whether the maps are (B, h, w, C). A map of as many channels as rows does not tell; the others do."""
    shapes = [call.output.shape[1:] for call in calls if call.output.dim() == 4]
    votes = Counter("last" if a == b else "first" for a, b, c in shapes if (a == b) != (b == c))
    return votes["last"] > votes["first"]


def _positions(value: Tensor | None) -> int:
    """Pixels of a map, or of the grid that tokens lie on; 1 for a vector; 0 for what is neither."""
    if value is None or value.dim() not in (2, 3, 4):
        return 0
    if value.dim() == 2:
        return 1
    if value.dim() == 3:
        return math.isqrt(value.shape[1]) ** 2
    a, b, c = value.shape[1:]
    return a * b if a == b != c else b * c


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    """Whether both are the same numbers in memory, perhaps in another shape."""
    return one is not None and other is not None and one.data_ptr() == other.data_ptr() and one.numel() == other.numel()


def _tensor(value: object, batch: int) -> Tensor | None:
    """Of the tensors in nested tuples, lists and dicts the first of `batch` rows, else the first."""
    found = list(_tensors(value))
    return next((tensor for tensor in found if tensor.dim() and len(tensor) == batch), found[0] if found else None)


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors(part)
