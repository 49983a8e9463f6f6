"""Files are written whole or not at all."""

import pytest

from benchmark.errors import UserError
from benchmark.files import replacement, write_atomically


def test_makes_the_folder_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "new" / "a.json"
    for data in (b"old", b"new"):
        write_atomically(path, data)
        assert path.read_bytes() == data
    assert list(path.parent.iterdir()) == [path]


def test_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a"
    write_atomically(path, b"old")
    with pytest.raises(TypeError), replacement(path) as file:
        file.writelines([b"half", "no bytes"])
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_a_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "a", tmp_path / ("a" * 300), tmp_path):
        with pytest.raises(UserError, match=r"cannot be written.*--out"):
            write_atomically(path, b"")
