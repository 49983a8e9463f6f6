"""Choosing a source, splitting by object, and the catalog's hash."""

import dataclasses
import json
import re

import pytest

from assets.catalog import Catalog, ObjectRef, load_catalog, load_object, split_objects
from assets.directory import holds_models
from assets.errors import BadObject, UserError
from assets.geometry import ModelFile

TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def catalog_of(n, source="procedural"):
    refs = (ObjectRef(f"family/{i:04d}", source, "family", digest=f"{i:064x}") for i in range(n))
    return Catalog(source, tuple(refs))


def test_procedural_is_the_default(tmp_path):
    catalog = load_catalog(None, tmp_path)
    assert catalog.source == "procedural"
    families = {ref.family for ref in catalog.objects}
    assert len(families) >= 16
    assert len(catalog.objects) == 16 * len(families)
    assert [ref.id for ref in catalog.objects] == sorted({ref.id for ref in catalog.objects})


def test_procedural_families(tmp_path):
    catalog = load_catalog("procedural:chair, car", tmp_path)
    assert {ref.family for ref in catalog.objects} == {"chair", "car"}
    parts = load_object(catalog.objects[0], tmp_path)
    assert parts and not isinstance(parts, ModelFile)


def test_procedural_instances(tmp_path):
    few, more = (load_catalog(f"procedural:chair,car@{n}", tmp_path) for n in (2, 5))
    assert len(few.objects) == 4 and len(more.objects) == 10
    assert set(few.objects) < set(more.objects)
    assert len(load_catalog("procedural@1", tmp_path).objects) >= 16


@pytest.mark.parametrize(
    "source",
    [
        "procedural@",
        "procedural@0",
        "procedural:chair@many",
        "procedural:",
        "procedural:chair,nonsense",
        "sweethome3d: ,",
        "no such folder",
    ],
)
def test_a_source_that_does_not_exist(tmp_path, source):
    with pytest.raises(UserError) as raised:
        load_catalog(source, tmp_path)
    assert raised.value.exit_code == 2
    assert "\n" not in str(raised.value)


def test_a_users_models_are_the_default_where_there_are_any(tmp_path):
    models = tmp_path / "assets" / "models"
    models.mkdir(parents=True)
    (models / ".gitkeep").touch()
    (models / "README.md").touch()
    assert not holds_models(models)
    (models / "chair.obj").write_text(TRIANGLE)
    catalog = load_catalog(None, tmp_path)
    assert catalog.source == str(models)
    assert [ref.source for ref in catalog.objects] == ["directory"]
    assert load_object(catalog.objects[0], tmp_path) == ModelFile(models / "chair.obj")


def test_models_that_cannot_be_read_are_not_passed_over_in_silence(tmp_path):
    models = tmp_path / "assets" / "models"
    models.mkdir(parents=True)
    (models / "chair.skp").touch()
    with pytest.raises(UserError, match=r"Collada"):
        load_catalog(None, tmp_path)


def test_twins_are_kept_once(tmp_path):
    for name in ("a.obj", "b.obj", "other.obj"):
        (tmp_path / name).write_text(TRIANGLE + ("# other\n" if name == "other.obj" else ""))
    catalog = load_catalog(str(tmp_path), tmp_path)
    assert len(catalog.objects) == 2
    ((left_out, reason),) = catalog.left_out
    assert left_out.startswith("unknown/b-")
    assert re.match("the same content as unknown/a-", reason)


def test_content_hash_covers_id_category_and_digest():
    catalog = catalog_of(3)
    assert re.fullmatch(r"[0-9a-f]{64}", catalog.content_hash)
    assert catalog.content_hash == catalog_of(3, source="elsewhere").content_hash
    first, *others = catalog.objects
    for change in ({"id": "x"}, {"category": "x"}, {"digest": "x"}):
        changed = Catalog("s", (dataclasses.replace(first, **change), *others))
        assert changed.content_hash != catalog.content_hash
    assert catalog_of(2).content_hash != catalog.content_hash


def test_a_ref_survives_json():
    ref = ObjectRef("a/b", "directory", "Küche", path="/x/b.obj", name="椅子")
    assert ObjectRef(**json.loads(json.dumps(dataclasses.asdict(ref)))) == ref


@pytest.mark.parametrize(("n", "share", "n_val"), [(10, 0.2, 2), (10, 0.01, 1), (2, 0.9, 1), (7, 0.5, 4), (5, 0, 0)])
def test_split_sizes(n, share, n_val):
    fit, val = split_objects(catalog_of(n), seed=1, val_share=share)
    assert len(val) == n_val
    assert sorted([*fit, *val], key=lambda ref: ref.id) == list(catalog_of(n).objects)


def test_split_depends_on_seed_and_ids_alone():
    catalog = catalog_of(200)
    _, val = split_objects(catalog, 7, 0.25)
    _, again = split_objects(Catalog("other", catalog.objects[::-1]), 7, 0.25)
    assert {ref.id for ref in again} == {ref.id for ref in val}
    assert split_objects(catalog, 8, 0.25)[1] != val
    # More objects move few others between the sides: where an object stands does not depend on its neighbours.
    _, grown = split_objects(catalog_of(210), 7, 0.25)
    assert len({ref.id for ref in val} & {ref.id for ref in grown}) > 0.9 * len(val)


@pytest.mark.parametrize(("n", "share"), [(1, 0.2), (0, 0.2), (5, 1.0), (5, -0.1), (5, float("nan"))])
def test_split_that_cannot_be(n, share):
    with pytest.raises(UserError):
        split_objects(catalog_of(n), 0, share)


def test_an_object_of_an_unknown_source(tmp_path):
    with pytest.raises(BadObject, match="thingiverse"):
        load_object(ObjectRef("a", "thingiverse", "b"), tmp_path)
