"""Mapped tables: the same as decoded ones, found again, made again when damaged, built by one process at a time."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.data import cache, load_table, table
from benchmark.errors import UserError

SCRIPT = "import sys; from pathlib import Path; from benchmark.data import load_table; "
SCRIPT += "t = load_table(Path(sys.argv[1]), 'train', place='mmap'); print(int(t.images.sum()))"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "gr3d" / "tables"


@pytest.fixture
def data(tmp_path, write_dataset) -> Path:
    return write_dataset(tmp_path / "data", count=40)


def entries(home: Path) -> list[Path]:
    return [path for path in home.iterdir() if path.is_dir()]


def refuse(*_: object) -> None:
    raise AssertionError("decoded, though there is a sound entry")


def same(one: table.ImageTable, other: table.ImageTable) -> None:
    for name in ("images", "index", "latents", "quaternion"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    assert (one.object_ids, one.categories) == (other.object_ids, other.categories)


def test_a_mapped_table_is_the_decoded_one_and_is_decoded_once(data, home, monkeypatch):
    decoded = load_table(data, "train")
    first = load_table(data, "train", place="mmap")
    monkeypatch.setattr(table, "decode_all", refuse)
    again = load_table(data, "train", place="mmap")
    same(first, decoded)
    same(again, decoded)
    assert (again.place, decoded.place) == ("mmap", "ram")
    assert again.kept == f"{data}: split 'train': 40 images, 0 MB mapped from {entries(home)[0]} (as asked for)"
    rows = torch.tensor([3, 0, 39])
    assert torch.equal(again.images.index_select(0, rows), decoded.images[rows])


@pytest.mark.parametrize("name", ["images.npy", "labels.npz", "manifest.json"])
@pytest.mark.parametrize("harm", ["flipped", "torn", "gone", "empty", "foreign"])
def test_a_damaged_entry_is_said_and_made_again(data, home, capsys, name, harm):
    decoded = load_table(data, "train")
    load_table(data, "train", place="mmap")
    path = entries(home)[0] / name
    content = bytearray(path.read_bytes())
    if harm == "flipped":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif harm == "torn":
        path.write_bytes(content[: len(content) // 2])
    elif harm == "gone":
        path.unlink()
    elif harm == "empty":
        path.write_bytes(b"")
    else:
        path.write_bytes(b"[1, 2]")
    capsys.readouterr()
    same(load_table(data, "train", place="mmap"), decoded)
    assert f"{entries(home)[0]}: damaged (" in capsys.readouterr().err
    same(load_table(data, "train", place="mmap"), decoded)
    assert capsys.readouterr().err == ""


def test_an_entry_of_other_shards_under_this_name_is_not_taken(data, home, tmp_path, write_dataset):
    other = write_dataset(tmp_path / "other", count=20, split="train")
    load_table(other, "train", place="mmap")
    foreign = entries(home)[0]
    load_table(data, "train", place="mmap")
    own = next(entry for entry in entries(home) if entry != foreign)
    shutil.rmtree(own)
    foreign.rename(own)
    same(load_table(data, "train", place="mmap"), load_table(data, "train"))


def test_other_shards_make_another_entry(data, home, make_sample, put_shard):
    load_table(data, "train", place="mmap")
    put_shard(data / "train-000002.tar", [make_sample(50)])
    assert len(load_table(data, "train", place="mmap")) == 41
    assert len(entries(home)) == 2


def test_shards_that_are_not_as_listed_are_not_kept(data, home):
    shard = data / "train-000000.tar"
    listed = {"sha256": "0" * 64, "bytes": shard.stat().st_size, "samples": 20}
    (data / "checksums.json").write_text(json.dumps({shard.name: listed}))
    with pytest.raises(UserError, match=r"train-000000\.tar: .*not as checksums\.json lists it; run gr3d verify"):
        load_table(data, "train", place="mmap")
    assert entries(home) == []


def test_a_broken_shard_leaves_nothing_behind(data, home, make_sample, put_shard):
    put_shard(data / "train-000002.tar", [{**make_sample(51), "png": b"no image"}])
    with pytest.raises(UserError, match="image cannot be decoded"):
        load_table(data, "train", place="mmap")
    assert entries(home) == []


def test_two_processes_at_once(data, home):
    """One decodes, the other waits and takes what it made; both see the same."""
    processes = [
        subprocess.Popen([sys.executable, "-c", SCRIPT, data], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    sums = {process.communicate()[0].strip() for process in processes}
    assert sums == {str(int(load_table(data, "train").images.sum()))}
    assert len(entries(home)) == 1


def test_killed_while_it_decodes(data, home, monkeypatch):
    """What a killed process leaves is neither taken for an entry nor kept."""
    slow = SCRIPT.replace("t = ", "from benchmark.data import table; import time; table.decode_all = ")
    slow = slow.replace("load_table(Path", "lambda *_: (print('here', flush=True), time.sleep(100)); load_table(Path")
    process = subprocess.Popen([sys.executable, "-c", slow, data], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert [entry.name.startswith(".") for entry in entries(home)] == [True]
    same(load_table(data, "train", place="mmap"), load_table(data, "train"))
    assert [entry.name.startswith(".") for entry in entries(home)] == [False]


def test_no_room(data, home, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 0, 100))
    with pytest.raises(UserError, match=r"cannot be kept there \(0 MB needed, 0 MB free\); make room, set") as caught:
        load_table(data, "train", place="mmap")
    assert "\n" not in str(caught.value)
    assert entries(home) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
def test_a_full_disk_is_one_line_and_kills_nobody(data, tmp_path, monkeypatch):
    """A real one, which claims more room than it has left by the time it is written to."""
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], check=True)
    try:
        monkeypatch.setenv("XDG_CACHE_HOME", str(small))
        monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1 << 40, 0, 1 << 40))
        with pytest.raises(UserError, match=r"cannot be kept there \(No space left on device\)"):
            load_table(data, "train", place="mmap")
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_file_where_the_cache_should_be(data, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"cannot be kept there \(Not a directory\)"):
        load_table(data, "train", place="mmap")


def test_pieces_have_digests_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_PIECE", 1000)
    path = tmp_path / "file"
    content = np.random.default_rng(0).bytes(3500)
    path.write_bytes(content)
    before = cache._digests(path)
    assert len(before) == 4
    path.write_bytes(content[:2500] + bytes([content[2500] ^ 8]) + content[2501:])
    assert [one == other for one, other in zip(before, cache._digests(path), strict=True)] == [True, True, False, True]


def test_the_lock_is_left_to_the_system(data, home):
    """A lock file on disk is not a lock held: an old one stops nobody."""
    load_table(data, "train", place="mmap")
    shutil.rmtree(entries(home)[0])
    started = time.monotonic()
    load_table(data, "train", place="mmap")
    assert time.monotonic() - started < 20
