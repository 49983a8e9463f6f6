"""How much of every factor a layer loses, as samples given the layer show it.

A factor that a layer keeps is the same in all samples given the layer of one image; one that it has lost scatters as in
samples that are given nothing. With E the mean squared distance between what the reader says of a sample and what the
conditioning image was rendered with,

    lost = (E(samples given the layer) - E(the image itself)) / (E(samples given nothing) - E(the image itself))

0: as true to the image as the image's own reading; 1: as far from it as samples that know nothing. Subtracting the
image's own error takes out what the reader does not see. For the category E is the share that is read as another one.

Samples given a layer may be less varied than samples given nothing, whatever the image is, and then seem to keep what
they do not know. Two controls tell: the same number of samples of another object's image, taken for the image's own
(1, were they as varied as those given nothing); and the number with these in the place of samples given nothing, which
is 1 for all samples that do not depend on their image.

Intervals are by bootstrap over objects, everything on the same draws; where too many draws leave a number undefined
there is none, as those that are left would not be representative.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from benchmark.data.table import ImageTable
from benchmark.errors import UserError
from benchmark.objectives.latents import factor_columns, factor_slices
from benchmark.probes.bootstrap import TAILS, draws, object_sums, per_object
from benchmark.rcdm.reader import Reading

CATEGORY = "category"


@dataclass(frozen=True)
class Share:
    """A share that is lost. low, high: its 95 % interval over objects; NaN: open. draws: float64 (B,), its value in
    every draw of objects, the same draws for all that was measured together."""

    value: float
    low: float
    high: float
    draws: Tensor = field(repr=False, compare=False)

    @property
    def is_open(self) -> bool:
        """Whether the reader hardly tells the images from samples that know nothing: the value then says little."""
        return math.isnan(self.low)


@dataclass(frozen=True)
class Kept:
    """One factor (of FACTORS, or CATEGORY) and layer. lost: see above; control, lost_of_others: the two controls.
    given, nothing, others, image: mean squared distances, of columns over their variance among the images (the
    category: shares); others: of samples of another object's image."""

    layer: str
    factor: str
    lost: Share
    control: Share
    lost_of_others: Share
    given: float
    nothing: float
    others: float
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
    partner = partners(table)

    def errors(images: Tensor, orders: Sequence[Tensor]) -> list[Tensor]:
        """Mean over the K images of each, (N, factors + 1), for every order in which images are given to the rows."""
        k = images.shape[1]
        reading = read(images.flatten(0, 1))
        columns = reading.columns.unflatten(0, (-1, k))
        names = np.array(reading.categories).reshape(-1, k)
        found = []
        for order in orders:
            apart = (columns[order] - truth[:, None]).square().mean(dim=1) / variance
            wrong = torch.from_numpy((names[order.numpy()] != np.array(table.categories)[:, None]).mean(axis=1))
            factors = [apart[:, place].mean(dim=1) for place in factor_slices().values()]
            found.append(torch.stack([*factors, wrong], dim=1))
        return found

    own = torch.arange(len(truth))
    (image,), (nothing,) = errors(table.images[:, None], [own]), errors(unconditional, [own])
    rows = []
    for layer, drawn in samples.items():
        given, others = errors(drawn, [own, partner])
        sums = {
            name: per_object(objects.object_of, part)
            for name, part in (("given", given), ("nothing", nothing), ("others", others), ("image", image))
        }
        shares = [
            _shares(*(sums[name] for name in (*pair, "image")))
            for pair in (("given", "nothing"), ("others", "nothing"), ("given", "others"))
        ]
        for place, factor in enumerate((*factor_slices(), CATEGORY)):
            means = (float(part[:, place].mean()) for part in (given, nothing, others, image))
            rows.append(Kept(layer, factor, *(share[place] for share in shares), *means))
    return rows


def check_measurable(table: ImageTable) -> None:
    """UserError for images that `measure` cannot judge samples by."""
    if len(set(table.object_ids)) < 2 or not (factor_columns(table).var(dim=0, correction=0) > 0).all():
        raise UserError("samples are judged on images of several objects in which every factor varies; take more")


def partners(table: ImageTable) -> Tensor:
    """int64 (N,): for each image of ``table`` another one, each once, of another object where that can be."""
    order = torch.tensor(sorted(range(len(table)), key=lambda row: table.object_ids[row]))
    most = max(Counter(table.object_ids).values())
    partner = torch.empty_like(order)
    partner[order] = order.roll(min(most, len(order) // 2))
    return partner


def ends(redrawn: Tensor) -> tuple[Tensor, Tensor]:
    """2.5 and 97.5 % over the first dimension; NaN where more than 2.5 % of it are."""
    low, high = redrawn.nanquantile(torch.tensor(TAILS, dtype=redrawn.dtype), dim=0)
    undefined = redrawn.isnan().double().mean(dim=0) > TAILS[0]
    return low.masked_fill(undefined, torch.nan), high.masked_fill(undefined, torch.nan)


def _shares(given: Tensor, nothing: Tensor, image: Tensor) -> list[Share]:
    """A share for every factor; sums over objects, (M, factors) each."""
    parts = (given, nothing, image)
    whole = _lost(*(part.sum(dim=0) for part in parts))
    redrawn = torch.cat([_lost(*(weights @ part for part in parts)) for weights in draws(len(given))])
    numbers = zip(whole.tolist(), *(end.tolist() for end in ends(redrawn)), redrawn.unbind(dim=1), strict=True)
    return [Share(*four) for four in numbers]


def _lost(given: Tensor, nothing: Tensor, image: Tensor) -> Tensor:
    """NaN where samples that know nothing are no further away than the image itself: the reader does not see it."""
    room = nothing - image
    return torch.where(room > 0, (given - image) / room, torch.nan)
