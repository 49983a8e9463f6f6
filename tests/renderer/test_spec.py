"""DatasetSpec: the split grammar and what counts as the same dataset."""

import pytest

from assets.catalog import Catalog, ObjectRef
from assets.errors import UserError
from renderer.spec import DEFAULT_SPLITS, catalog_id, differences, make_spec, parse_splits

CATALOG = Catalog("test", tuple(ObjectRef(f"o{i}", "procedural", "chair", digest=str(i)) for i in range(10)))
OPTIONS = {
    "seed": 0,
    "resolution": 64,
    "preset": "fast",
    "splits": DEFAULT_SPLITS,
    "shard_size": 100,
    "image_format": "jpg",
}


def test_default_splits_fit_a_block_of_twenty():
    spec = make_spec(CATALOG, **OPTIONS)
    assert spec.block == 20
    assert spec.to_json()["splits"] == {"train": 0.6, "probe": 0.2, "val_views": 0.05, "val": 0.15}


def test_order_and_empty_splits_do_not_matter():
    assert parse_splits("val=0.25, train=0.75,probe=0") == (("train", "0.75"), ("val", "0.25"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("train=0.5", "add up to 0.5"),
        ("train=0.5,test=0.5", "'test'"),
        ("train=0.5,train=0.5", "twice"),
        ("train=x,val=0.5", "'x'"),
        ("train=1.5,val=-0.5", "between 0 and 1"),
        ("train=0.3333,val=0.6667", "three decimals"),
        ("", "''"),
    ],
)
def test_bad_splits_are_refused(text, why):
    with pytest.raises(UserError, match=why) as error:
        parse_splits(text)
    assert error.value.exit_code == 2


@pytest.mark.parametrize(("name", "value"), [("seed", -1), ("resolution", 4), ("shard_size", 0)])
def test_bad_numbers_name_the_option(name, value):
    with pytest.raises(UserError, match="--" + name.replace("_", "-")):
        make_spec(CATALOG, **{**OPTIONS, name: value})


def test_differences_name_what_changed():
    old = make_spec(CATALOG, **OPTIONS).to_json()
    new = make_spec(CATALOG, **{**OPTIONS, "seed": 1}).to_json()
    assert differences(old, new) == ["seed 0, not 1"]
    assert differences(old, old) == []


def test_a_folder_has_one_name_however_it_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refs = (ObjectRef("a", "directory", "chair", digest="1"),)
    ids = {catalog_id(Catalog(source, refs)) for source in ("models", "./models/", str(tmp_path / "models"))}
    assert ids == {"models"}
    assert catalog_id(CATALOG) == "test"
