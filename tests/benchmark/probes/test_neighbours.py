"""The neighbours are the nearest: by brute force, and as scikit-learn finds them."""

import json

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from benchmark.data.neighbours import identity, load_neighbours
from benchmark.data.table import load_table
from benchmark.errors import UserError
from benchmark.models import build_network
from benchmark.probes.neighbours import find_neighbours, nearest, neighbours_file, sentence
from benchmark.probes.subjects import Subject


def random(count: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def data(tmp_path_factory, write_dataset):
    return write_dataset(tmp_path_factory.mktemp("data"), count=40, side=16)


@pytest.fixture(scope="module")
def subject() -> Subject:
    return Subject(build_network("resnet18", "small", "none", seed=0).eval(), config={"arch": "resnet18"})


@pytest.mark.parametrize(("rows", "columns"), [(1024, 16384), (7, 5), (1, 3), (100, 1)])
@pytest.mark.parametrize(("count", "width", "k"), [(100, 8, 5), (30, 3, 29), (2, 4, 1)])
def test_scikit_learn_finds_the_same(count, width, k, rows, columns):
    features = random(count, width) + 1  # all in one direction: cosines that lie close together
    places, similarity = nearest(features, k, rows=rows, columns=columns)
    theirs = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(features.double().numpy())
    distance, found = theirs.kneighbors()  # without an argument: the fitted ones, each itself excluded
    assert np.array_equal(places, found)
    np.testing.assert_allclose(similarity, 1 - distance, atol=1e-6)


def test_brute_force_one_by_one():
    features = random(20, 6, seed=3)
    places, similarity = nearest(features, 4)
    rows = features.double().numpy()
    for i, row in enumerate(rows):
        cosine = {
            j: row @ other / np.linalg.norm(row) / np.linalg.norm(other) for j, other in enumerate(rows) if j != i
        }
        assert places[i].tolist() == sorted(cosine, key=cosine.get, reverse=True)[:4]
        assert similarity[i] == pytest.approx([cosine[j] for j in places[i]], abs=1e-6)


def test_length_does_not_matter_and_no_image_is_its_own_neighbour():
    features = random(30, 5)
    stretched = features * torch.logspace(-15, 15, 30)[:, None]
    assert np.array_equal(nearest(features, 6)[0], nearest(stretched, 6)[0])
    assert not (nearest(features, 29)[0] == np.arange(30)[:, None]).any()


def test_twins_and_rows_of_zeros():
    """Twins are each other's nearest; what has no direction is at a right angle to all; equals go by place."""
    features = torch.cat([random(10, 4)] * 2)
    places, similarity = nearest(features, 1)
    assert places[:, 0].tolist() == [*range(10, 20), *range(10)]
    assert similarity == pytest.approx(1, abs=1e-6)
    places, similarity = nearest(torch.zeros(6, 3), 3)
    assert places.tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2], [0, 1, 2], [0, 1, 2]]
    assert not similarity.any()


def test_float32_alone_would_not_do():
    """Cosines that differ in the eighth digit are put in their true order."""
    angles = torch.tensor([0.0, 1e-3, 1.00001e-3, 0.99999e-3, 2e-3], dtype=torch.float64)
    features = torch.stack([angles.cos(), angles.sin()], dim=1).float()
    rows = features.double()
    cosine = (rows @ rows.T) / rows.norm(dim=1)[:, None] / rows.norm(dim=1)
    cosine.fill_diagonal_(-2)
    assert nearest(features, 4)[0].tolist() == cosine.sort(dim=1, descending=True)[1][:, :4].tolist()


def test_neighbours_of_a_datasets_images(data, subject):
    table = load_table(data, "train")
    found = find_neighbours("net", subject, table, identity(data, "train", table), 3)
    with torch.inference_mode():
        trunk = subject.open().features(table.images.float() / 255)["trunk"]
    theirs = NearestNeighbors(n_neighbors=3, metric="cosine", algorithm="brute").fit(trunk.double().numpy())
    assert np.array_equal(found.places, theirs.kneighbors(return_distance=False))
    assert found.network["layer"] == "trunk" and found.network["config"] == {"arch": "resnet18"}
    for layer, k, says in (("trunk", 40, "--k 40: choose from 1 to 39"), ("neck", 3, "--layer neck: net has stem, ")):
        with pytest.raises(UserError, match=says):
            find_neighbours("net", subject, table, {}, k, layer)


def test_a_file_is_made_once_and_not_overwritten(data, subject, tmp_path, write_dataset):
    out = tmp_path / "near.npz"
    report = neighbours_file("net", subject, data, 3, out, device="cpu")
    assert (report["made"], report["images"], report["k"]) == (True, 40, 3)
    written = out.read_bytes()
    found, categories = load_neighbours(out), load_table(data, "train").categories
    alike = [categories[j] == categories[i] for i, row in enumerate(found.places) for j in row]
    assert report["same_class"] == pytest.approx(np.mean(alike))
    assert report["chance"] == pytest.approx(19 / 39)  # two classes of 20
    assert json.loads(json.dumps(report)) == report and "the 3 nearest of 40 images by trunk of net" in sentence(report)
    again = neighbours_file("net", subject, data, 3, out, device="cpu")
    assert again == {**report, "made": False}
    other = write_dataset(tmp_path / "other", count=20, side=16)
    for changed in ((data, 4, "trunk"), (other, 3, "trunk"), (data, 3, "stem")):
        with pytest.raises(UserError, match=r"near\.npz: holds neighbours by another network, --k or dataset"):
            neighbours_file("net", subject, changed[0], changed[1], out, layer=changed[2], device="cpu")
    assert out.read_bytes() == written
