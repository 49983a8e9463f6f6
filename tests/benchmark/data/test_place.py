"""Where a table is kept follows from its size and from what is free."""

from pathlib import Path

import pytest
import torch

from benchmark.data import load_table, place
from benchmark.data.place import available_memory, choose_place, in_words
from benchmark.errors import UserError

CPU = torch.device("cpu")


def test_by_size(monkeypatch):
    monkeypatch.setattr(place, "available_memory", lambda: 8_000_000_000)
    assert choose_place("auto", 3_000_000_000, CPU) == ("ram", "8.0 GB of memory available")
    assert choose_place("auto", 5_000_000_000, CPU)[0] == "mmap"
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert choose_place("auto", 3_000_000_000, CPU) == ("mmap", "8.0 GB of memory available for 4 processes")
    assert choose_place("ram", 10**15, CPU) == ("ram", "as asked for")


def test_on_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (4_000_000_000, 8_000_000_000))
    monkeypatch.setattr(place, "available_memory", lambda: 5_000_000_000)
    gpu = torch.device("cuda")
    assert choose_place("auto", 1_500_000_000, gpu) == ("device", "4.0 GB of the GPU's memory available")
    assert choose_place("auto", 2_200_000_000, gpu)[0] == "ram"
    assert choose_place("auto", 3_000_000_000, gpu)[0] == "mmap"


def test_unknown_name(write_dataset, tmp_path):
    with pytest.raises(UserError, match="--table disk: unknown; choose one of auto, ram, mmap, device") as caught:
        load_table(write_dataset(tmp_path, count=2), "train", place="disk")
    assert caught.value.exit_code == 2


def test_available_memory_is_less_than_the_machine_has():
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    assert 0 < available_memory() < 1024 * int(total.split()[1])


def test_in_words():
    assert [in_words(size) for size in (0, 12_400_000, 3_440_000_000)] == ["0 MB", "12 MB", "3.4 GB"]


def test_a_table_says_where_it_is_and_why(write_dataset, tmp_path, monkeypatch):
    data = write_dataset(tmp_path / "data", count=9)
    assert load_table(data, "train").kept.startswith(f"{data}: split 'train': 9 images, 0 MB in RAM (")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(place, "available_memory", lambda: 100)
    assert load_table(data, "train").place == "mmap"
