"""How much of every factor a layer loses, as samples given the layer show it.

A factor that a layer keeps is the same in all samples given the layer of one image; one that it has lost scatters as in
samples that are given nothing. With E the mean squared distance between what the reader says of a sample and what the
conditioning image was rendered with,

    lost = (E(samples given the layer) - E(the image itself)) / (E(samples given nothing) - E(the image itself))

0: as true to the image as the image's own reading; 1: as far from it as samples that know nothing. Subtracting the
image's own error takes out what the reader does not see. For the category E is the share that is read as another one.
Intervals are by bootstrap over objects, all layers, factors and terms on the same draws; where too many draws leave the
number undefined there is none, as those that are left would not be representative.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.data.table import ImageTable
from benchmark.errors import UserError
from benchmark.objectives.latents import factor_columns, factor_slices
from benchmark.probes.bootstrap import TAILS, draws, object_sums, per_object
from benchmark.rcdm.reader import Reading

CATEGORY = "category"


@dataclass(frozen=True)
class Kept:
    """One factor (of FACTORS, or CATEGORY) and layer. lost: see above; low, high: its 95 % interval, or NaN. given,
    nothing, image: the three E, of columns over their variance among the images (the category: shares)."""

    layer: str
    factor: str
    lost: float
    low: float
    high: float
    given: float
    nothing: float
    image: float


def measure(
    read: Callable[[Tensor], Reading],
    table: ImageTable,
    samples: Mapping[str, Tensor],
    unconditional: Tensor,
) -> list[Kept]:
    """Judge samples given layers of the images of ``table`` against samples given nothing.

    read: Reader.read. samples: {layer: uint8 (N, K, 3, S, S)}; unconditional: uint8 (N, K, 3, S, S). UserError for a
    table that shows a single object, or in which a factor does not vary.
    """
    check_measurable(table)
    truth = factor_columns(table)
    variance = truth.var(dim=0, correction=0)
    objects = object_sums(table.object_ids, truth)

    def errors(images: Tensor) -> Tensor:
        """Mean over the K images of each, (N, factors + 1)."""
        flat, k = images.flatten(0, 1), images.shape[1]
        reading = read(flat)
        apart = (reading.columns.unflatten(0, (-1, k)) - truth[:, None]).square().mean(dim=1) / variance
        names = [name for name in table.categories for _ in range(k)]
        wrong = torch.tensor([float(a != b) for a, b in zip(reading.categories, names, strict=True)]).double()
        columns = [apart[:, place].mean(dim=1) for place in factor_slices().values()]
        return torch.stack([*columns, wrong.unflatten(0, (-1, k)).mean(dim=1)], dim=1)

    image, nothing = errors(table.images[:, None]), errors(unconditional)
    rows = []
    for layer, drawn in samples.items():
        given = errors(drawn)
        parts = [per_object(objects.object_of, part) for part in (given, nothing, image)]
        low, high = _ends(_redrawn(parts))
        whole = [part.sum(dim=0, keepdim=True) for part in parts]
        lost = _lost(*whole)[0]
        for place, factor in enumerate((*factor_slices(), CATEGORY)):
            three = (float(part[:, place].mean()) for part in (given, nothing, image))
            rows.append(Kept(layer, factor, float(lost[place]), float(low[place]), float(high[place]), *three))
    return rows


def check_measurable(table: ImageTable) -> None:
    """UserError for images that `measure` cannot judge samples by."""
    if len(set(table.object_ids)) < 2 or not (factor_columns(table).var(dim=0, correction=0) > 0).all():
        raise UserError("samples are judged on images of several objects in which every factor varies; take more")


def shuffled(drawn: Tensor, table: ImageTable) -> Tensor:
    """The control: each image of ``table`` gets the samples of another one, of another object where that can be."""
    order = torch.tensor(sorted(range(len(drawn)), key=lambda row: table.object_ids[row]))
    most = max(Counter(table.object_ids).values())
    partner = torch.empty_like(order)
    partner[order] = order.roll(min(most, len(order) // 2))
    return drawn[partner]


def _ends(redrawn: Tensor) -> tuple[Tensor, Tensor]:
    """2.5 and 97.5 % of every column; NaN where more than 2.5 % of it are."""
    low, high = redrawn.nanquantile(torch.tensor(TAILS, dtype=redrawn.dtype), dim=0)
    undefined = redrawn.isnan().double().mean(dim=0) > TAILS[0]
    return low.masked_fill(undefined, torch.nan), high.masked_fill(undefined, torch.nan)


def _redrawn(parts: Sequence[Tensor]) -> Tensor:
    """lost of every draw of objects, (draws, factors); parts: sums over objects, (M, factors) each."""
    return torch.cat([_lost(*(weights @ part for part in parts)) for weights in draws(len(parts[0]))])


def _lost(given: Tensor, nothing: Tensor, image: Tensor) -> Tensor:
    """NaN where samples given nothing are no further away than the image itself: the reader does not see the factor."""
    room = nothing - image
    return torch.where(room > 0, (given - image) / room, torch.nan)
