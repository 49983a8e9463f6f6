"""The number: 0 for samples that are the image, 1 for samples that know nothing, and what lies between."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from benchmark.data.table import ImageTable
from benchmark.errors import UserError
from benchmark.objectives.latents import factor_columns
from benchmark.probes.targets import FACTORS
from benchmark.rcdm.kept import CATEGORY, Kept, ends, measure, partners
from benchmark.rcdm.reader import Reading

COUNT, SAMPLES = 60, 8


def table(objects: int = 12) -> ImageTable:
    """Images whose first pixel is their number."""
    rng = np.random.default_rng(0)
    quaternion = rng.normal(size=(COUNT, 4))
    images = torch.zeros(COUNT, 3, 2, 2, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(COUNT)
    return ImageTable(
        images,
        torch.arange(COUNT),
        torch.from_numpy(rng.random((COUNT, 7))),
        torch.from_numpy(quaternion / np.linalg.norm(quaternion, axis=1, keepdims=True)),
        [f"object-{k % objects}" for k in range(COUNT)],
        [f"category-{k % 3}" for k in range(COUNT)],
    )


def reader(known: ImageTable, noise: float = 0.0) -> Callable[[torch.Tensor], Reading]:
    """Reads an image's truth off its first pixel, with an error of ``noise`` standard deviations."""
    truth, rng = factor_columns(known), np.random.default_rng(1)

    def read(images: torch.Tensor) -> Reading:
        numbers = images[:, 0, 0, 0].long()
        error = torch.from_numpy(rng.normal(size=(len(images), truth.shape[1]))) * truth.std(dim=0) * noise
        names = [known.categories[k] for k in numbers.tolist()]
        return Reading(truth[numbers] + error, names, torch.zeros(len(images), 1))

    return read


def showing(numbers: torch.Tensor) -> torch.Tensor:
    """uint8 (N, K, 3, 2, 2) of int64 (N, K): samples that are other images of the table."""
    return table().images[numbers]


def by_name(rows: list[Kept], layer: str) -> dict[str, Kept]:
    return {row.factor: row for row in rows if row.layer == layer}


@pytest.mark.parametrize("noise", [0.0, 0.7])
def test_from_the_image_itself_to_samples_that_know_nothing(noise):
    known = table()
    rng = torch.Generator().manual_seed(0)
    same = torch.arange(COUNT)[:, None].expand(-1, SAMPLES)
    anything = torch.randint(COUNT, (COUNT, SAMPLES), generator=rng)
    half = torch.where(torch.arange(SAMPLES) % 2 == 0, same, anything)
    nothing = torch.randint(COUNT, (COUNT, 8 * SAMPLES), generator=rng)
    samples = {"all": showing(same), "half": showing(half), "none": showing(anything)}
    rows = measure(reader(known, noise), known, samples, showing(nothing))
    assert [row.factor for row in rows[: len(FACTORS) + 1]] == [*FACTORS, CATEGORY]
    slack = 0.05 + 0.15 * noise
    for layer, expected in (("all", 0.0), ("half", 0.5), ("none", 1.0)):
        for factor, row in by_name(rows, layer).items():
            for share in (row.lost, row.lost_of_others):
                assert share.value == pytest.approx(expected, abs=slack + 0.15 * expected), (layer, factor)
                assert share.low <= share.value <= share.high
            assert row.control.low < 1.1 and row.control.high > 0.9, (layer, factor)
    assert by_name(rows, "half")["rotation"].lost.high < by_name(rows, "none")["rotation"].lost.high


def test_one_factor_can_be_lost_and_another_kept():
    """Samples that show other images of the same category."""
    known = table()
    rng = torch.Generator().manual_seed(0)
    alike = torch.arange(COUNT)[:, None] % 3 + 3 * torch.randint(COUNT // 3, (COUNT, SAMPLES), generator=rng)
    anything = torch.randint(COUNT, (COUNT, 8 * SAMPLES), generator=rng)
    rows = by_name(measure(reader(known), known, {"trunk": showing(alike)}, showing(anything)), "trunk")
    assert rows[CATEGORY].lost.value == 0.0
    assert all(rows[factor].lost.value > 0.7 for factor in FACTORS)


def test_samples_of_another_image_know_nothing():
    """Everything is lost when the conditioning is shuffled: then samples that are the image are as far as any."""
    known = table()
    same = torch.arange(COUNT)[:, None].expand(-1, SAMPLES)
    partner = partners(known)
    assert sorted(partner.tolist()) == list(range(COUNT))
    names = known.object_ids
    assert all(names[k] != names[int(other)] for k, other in enumerate(partner))
    anything = torch.randint(COUNT, (COUNT, 8 * SAMPLES), generator=torch.Generator().manual_seed(0))
    samples = {"own": showing(same), "shuffled": showing(same)[partner]}
    rows = measure(reader(known), known, samples, showing(anything))
    for factor, row in by_name(rows, "shuffled").items():
        assert 0.6 < row.lost.value < 1.4, row
        assert row.lost.value == by_name(rows, "own")[factor].control.value


def test_samples_that_are_alike_whatever_the_image_keep_nothing():
    """Less varied than samples given nothing, they are nearer to every image: the controls tell."""
    known = table()
    columns = factor_columns(known)
    middle = int((columns - columns.mean(dim=0)).square().div(columns.var(dim=0)).sum(dim=1).argmin())
    anything = torch.randint(COUNT, (COUNT, 8 * SAMPLES), generator=torch.Generator().manual_seed(0))
    alike = showing(torch.full((COUNT, SAMPLES), middle))
    rows = by_name(measure(reader(known), known, {"trunk": alike}, showing(anything)), "trunk")
    for factor in FACTORS:
        assert rows[factor].lost.value < 0.95
        assert rows[factor].control.value == pytest.approx(rows[factor].lost.value)
        assert rows[factor].lost_of_others.value == pytest.approx(1.0)


def test_too_many_undefined_draws_leave_no_interval():
    redrawn = torch.linspace(0, 1, 1001).double()[:, None].repeat(1, 2)
    redrawn[:20, 0], redrawn[:30, 1] = torch.nan, torch.nan
    low, high = ends(redrawn)
    assert 0.02 < low[0] < 0.05 and high[0] == pytest.approx(0.975, abs=0.002)
    assert low[1].isnan() and high[1].isnan()


def test_a_single_object_is_refused():
    known = table(objects=1)
    with pytest.raises(UserError, match="several objects in which every factor varies"):
        measure(reader(known), known, {}, known.images[:, None])
