"""Categories from a csv file: what they change, and what is refused."""

import zipfile

import pytest

from assets.catalog import load_catalog
from assets.errors import UserError

TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "models"
    for number, name in enumerate(["glbs/000-023/" + "0a" * 16 + ".glb", "seats/a b.obj", "стулья/стул.obj"]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{TRIANGLE}# {number}\n")
    with zipfile.ZipFile(folder / "set.zip", "w") as file:
        file.writestr("one.obj", TRIANGLE + "# one")
        file.writestr("two.obj", TRIANGLE + "# two")
    (folder / "seats" / "old.skp").write_text("SketchUp")
    return folder


def categories(root, tmp_path, text) -> dict[str, str]:
    (tmp_path / "c.csv").write_text(text)
    catalog = load_catalog(str(root), tmp_path, tmp_path / "c.csv")
    return {ref.path.removeprefix(f"{root}/"): ref.category for ref in catalog.objects}


def test_paths_give_categories_and_the_rest_keep_theirs(root, tmp_path):
    text = "\ufeffpath,category\r\n./seats/a b.obj,chair\r\nset.zip,bundle\r\nset.zip!two.obj,second\r\n"
    text += "стулья\\стул.obj, стул \r\nseats/old.skp,chair\r\n"  # old.skp is there, though it cannot be used
    found = categories(root, tmp_path, text)
    assert found == {
        "glbs/000-023/" + "0a" * 16 + ".glb": "unknown",
        "seats/a b.obj": "chair",
        "set.zip!one.obj": "bundle",
        "set.zip!two.obj": "second",
        "стулья/стул.obj": "стул",
    }


def test_uids_give_categories_as_objaverses_annotations_do(root, tmp_path):
    found = categories(root, tmp_path, f"uid,category\n{'0a' * 16},mug\n{'0b' * 16},cup\n")
    assert found["glbs/000-023/" + "0a" * 16 + ".glb"] == "mug"
    assert found["seats/a b.obj"] == "seats"


def test_they_are_part_of_the_catalogs_identity_and_not_of_ids(root, tmp_path):
    plain = load_catalog(str(root), tmp_path)
    (tmp_path / "c.csv").write_text("path,category\nseats/a b.obj,chair\n")
    given = load_catalog(str(root), tmp_path, tmp_path / "c.csv")
    assert [ref.id for ref in given.objects] == [ref.id for ref in plain.objects]
    assert given.content_hash != plain.content_hash


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1.*columns 'category' and 'path' or 'uid'"),
        ("path,category,colour\nseats/a b.obj,chair,red\n", "line 1.*unknown column 'colour'"),
        ("path,uid,category\n", "columns"),
        ("path,category\nseats/none.obj,chair\n", r"line 2.*holds no 'seats/none.obj'"),
        ("path,category\nseats/a b.obj\n", "line 2: 1 values for 2 columns"),
        ("path,category\nseats/a b.obj,\n", "line 2: no category"),
        ("path,category\nseats/a b.obj,x\nseats/a b.obj,y\n", "line 3: a second category"),
        ("uid,category\nnone,chair\n", "none of its 1 uids"),
        ('path,category\n"seats', "not a csv file"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_the_place(root, tmp_path, text, says):
    with pytest.raises(UserError, match=says) as raised:
        categories(root, tmp_path, text)
    assert raised.value.exit_code == 2
    assert "\n" not in str(raised.value)


def test_files_that_cannot_be_read_and_sources_without_folders_are_refused(root, tmp_path):
    with pytest.raises(UserError, match=r"none\.csv: cannot be read"):
        load_catalog(str(root), tmp_path, tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes(b"path,category\n\xff,chair\n")
    with pytest.raises(UserError, match="UTF-8"):
        load_catalog(str(root), tmp_path, tmp_path / "latin.csv")
    with pytest.raises(UserError, match="give a folder"):
        load_catalog("procedural", tmp_path, tmp_path / "latin.csv")
