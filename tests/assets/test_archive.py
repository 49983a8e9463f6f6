"""Zips that mean harm or are broken end as BadObject and leave nothing outside the target."""

import errno
import os
import stat
import zipfile

import pytest

from assets import archive
from assets.errors import BadObject


def write_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def test_unpacks_files_and_folders(tmp_path):
    source = write_zip(tmp_path / "a.zip", {"model.dae": "dae", "tex/wood é.png": b"\x89PNG", "tex/": ""})
    archive.unzip(source, tmp_path / "out")
    assert (tmp_path / "out/model.dae").read_text() == "dae"
    assert (tmp_path / "out/tex/wood é.png").read_bytes() == b"\x89PNG"


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/evil", "C:/evil", "..\\evil", "\\evil", "a\\..\\..\\evil", "C:evil"]
)
def test_refuses_paths_that_climb_out(tmp_path, name):
    source = write_zip(tmp_path / "a.zip", {"good.obj": "v 0 0 0", name: "x"})
    with pytest.raises(BadObject, match="unsafe path"):
        archive.unzip(source, tmp_path / "deep/er/out")
    assert {path.name for path in tmp_path.iterdir()} == {"a.zip"}  # refused before the first file


def test_refuses_links(tmp_path):
    link = zipfile.ZipInfo("textures")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr(link, "/etc")
        file.writestr("textures/passwd", "x")
    with pytest.raises(BadObject, match="link"):
        archive.unzip(tmp_path / "a.zip", tmp_path / "out")


def test_refuses_a_zip_bomb(tmp_path):
    source = write_zip(tmp_path / "a.zip", {"zeros.bin": bytes(archive.RATIO_FREE_BYTES + 1)})
    with pytest.raises(BadObject, match="zip bomb"):
        archive.unzip(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_refuses_too_many_bytes_and_files(tmp_path, monkeypatch):
    source = write_zip(tmp_path / "a.zip", {f"{i}.txt": "12345678" for i in range(5)})
    monkeypatch.setattr(archive, "MAX_BYTES", 39)
    with pytest.raises(BadObject, match="MiB"):
        archive.unzip(source, tmp_path / "out")
    monkeypatch.setattr(archive, "MAX_FILES", 4)
    with pytest.raises(BadObject, match="5 files"):
        archive.unzip(source, tmp_path / "out")


def test_a_size_that_the_directory_understates_is_caught(tmp_path):
    source = write_zip(tmp_path / "a.zip", {"a.obj": bytes(1000)})
    data = bytearray(source.read_bytes())
    for signature, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        at = data.index(signature) + offset
        data[at : at + 4] = (10).to_bytes(4, "little")
    source.write_bytes(data)
    with pytest.raises(BadObject, match=r"a\.obj"):
        archive.unzip(source, tmp_path / "out")
    assert sum(file.stat().st_size for file in (tmp_path / "out").iterdir()) <= 10


@pytest.mark.parametrize("damage", ["truncated", "flipped", "not a zip", "empty", "encrypted"])
def test_broken_archives(tmp_path, damage):
    source = write_zip(tmp_path / "a.zip", {"a.obj": bytes(range(256)) * 40})
    data = bytearray(source.read_bytes())
    if damage == "truncated":
        data = data[: len(data) // 2]
    elif damage == "flipped":
        data[45] ^= 0xFF
    elif damage == "encrypted":
        data[data.index(b"PK\x01\x02") + 8] |= 1
        data[6] |= 1
    else:
        data = bytearray(b"no zip at all" if damage == "not a zip" else b"")
    source.write_bytes(data)
    with pytest.raises(BadObject):
        archive.unzip(source, tmp_path / "out")


def test_a_file_where_another_member_wants_a_folder(tmp_path):
    source = write_zip(tmp_path / "a.zip", {"a": "file", "a/b": "below it"})
    with pytest.raises(BadObject):
        archive.unzip(source, tmp_path / "out")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_or_failing_disk_makes_no_object_bad(tmp_path, monkeypatch, number):
    """No disk to fill in a test: the copying fails as it would on one."""

    def fail(*_):
        raise OSError(number, os.strerror(number))

    source = write_zip(tmp_path / "a.zip", {"a.obj": "v 0 0 0"})
    monkeypatch.setattr(archive.shutil, "copyfileobj", fail)
    with pytest.raises(OSError, match=os.strerror(number)):
        archive.unzip(source, tmp_path / "out")


def test_a_missing_archive(tmp_path):
    with pytest.raises(BadObject):
        archive.unzip(tmp_path / "none.zip", tmp_path / "out")
