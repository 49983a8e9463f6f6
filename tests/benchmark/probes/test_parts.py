"""A reading that was stopped goes on where it was, and takes nothing that is not its own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from benchmark.data.table import load_table
from benchmark.errors import UserError
from benchmark.probes.classify import probe
from benchmark.probes.parts import FOLDER, Parts
from benchmark.probes.regress import regress_latents
from benchmark.probes.subjects import Subject

ROOT = Path(__file__).parents[3]


class Counting(nn.Module):
    """A random layer that counts the images it sees, and stops everything at image `last`."""

    def __init__(self, seed: int, last: int = 10**9) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layer = nn.Linear(48, 9)
        self.seen, self.last = 0, last

    def features(self, x: torch.Tensor, pool: int = 1) -> dict[str, torch.Tensor]:
        self.seen += len(x)
        if self.seen > self.last:
            raise KeyboardInterrupt
        pooled = nn.functional.adaptive_avg_pool2d(x, 4).flatten(1)
        return {"pixels": pooled, "head1": self.layer(pooled).tanh()}


def networks(last: int = 10**9) -> dict[str, Subject]:
    return {"first": Subject(Counting(0)), "second": Subject(Counting(1, last))}


def seen(subjects: dict[str, Subject]) -> list[int]:
    return [subject.network.seen for subject in subjects.values()]


def regress(subjects: dict[str, Subject], data: Path, out: Path, **options):
    with Parts(out) as parts:
        return regress_latents(subjects, data, device="cpu", parts=parts, **options)


def stopped(dataset: Path, out: Path) -> None:
    """A regression that ends in the second network's `val_views`: three parts are finished."""
    with pytest.raises(KeyboardInterrupt):
        regress(networks(last=240 + 10), dataset, out)
    assert len(list((out / FOLDER).glob("*.pt"))) == 3


def test_a_stopped_regression_reads_only_what_is_missing(dataset, tmp_path, capsys):
    whole = regress_latents(networks(), dataset, device="cpu")
    stopped(dataset, tmp_path)
    capsys.readouterr()
    again = networks()
    found = regress(again, dataset, tmp_path)
    assert seen(again) == [60, 60 + 60]
    assert found.document() == whole.document()
    assert capsys.readouterr().err.count("kept from before") == 3
    assert not (tmp_path / FOLDER).exists()


def test_a_stopped_probe_reads_only_what_is_missing(dataset, tmp_path, capsys):
    """Of the same pictures, sorted into two classes by their object."""
    data = tmp_path / "data"
    packed_by_object(dataset, data)
    whole = probe(networks(), data, device="cpu")
    for last, parts in ((100, 1), (240 + 10, 3)):
        with pytest.raises(KeyboardInterrupt), Parts(tmp_path) as kept:
            probe(networks(last), data, device="cpu", parts=kept)
        assert len(list((tmp_path / FOLDER).glob("*.pt"))) == parts
    again = networks()
    with Parts(tmp_path) as kept:
        found = probe(again, data, device="cpu", parts=kept)
    assert seen(again) == [0, 60]
    assert found.document() == whole.document()
    assert "second, train: kept from before" in capsys.readouterr().err
    assert not (tmp_path / FOLDER).exists()


def packed_by_object(dataset: Path, folder: Path) -> None:
    for split, name in (("probe", "train"), ("val_views", "val")):
        table = load_table(dataset, split)
        for k, (image, shown) in enumerate(zip(table.images, table.object_ids, strict=True)):
            place = folder / name / ("even" if int(shown[-1]) % 2 == 0 else "odd")
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(place / f"{k:03d}.png")


@pytest.mark.parametrize("change", ["weights", "name", "config", "pool", "images"])
def test_parts_of_another_reading_are_not_taken(change, dataset, tmp_path, capsys):
    out, options, data = tmp_path / "out", {}, dataset
    stopped(dataset, out)
    again = networks()
    if change == "weights":
        again["first"] = Subject(Counting(5))
    elif change == "name":
        again["else"] = again.pop("first")
    elif change == "config":
        again["first"] = Subject(Counting(0), config={"side": 8})
    elif change == "pool":
        options["pool"] = 2
    else:
        data = tmp_path / "data"
        data.mkdir()
        for path in dataset.iterdir():
            (data / path.name).write_bytes(path.read_bytes())
        shard = data / "val_views-000000.tar"
        shard.write_bytes((dataset / "lone-000000.tar").read_bytes())
    capsys.readouterr()
    regress(again, data, out, **options)
    # The change touches the first network, both, or of both what judges on val_views.
    kept = {"pool": 0, "images": 2}.get(change, 1)
    assert capsys.readouterr().err.count("kept from before") == kept


def test_a_damaged_part_is_read_again(dataset, tmp_path, capsys):
    stopped(dataset, tmp_path)
    for path in (tmp_path / FOLDER).glob("*.pt"):
        path.write_bytes(path.read_bytes()[:-200])
    again = networks()
    regress(again, dataset, tmp_path)
    assert seen(again) == [360, 360]
    assert capsys.readouterr().err.count(": damaged (") == 3


def test_nothing_in_a_part_is_executed(tmp_path, capsys):
    """Whoever may write into the folder of results may not run code."""
    marker = tmp_path / "executed"

    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(marker),)

    parts = Parts(tmp_path)
    parts.get("part", {"a": 1}, lambda: {"value": 1})
    (path,) = parts.folder.glob("*.pt")
    torch.save({"value": Hostile()}, path)
    assert parts.get("part", {"a": 1}, lambda: {"value": 2}) == {"value": 2}
    assert not marker.exists()


def test_an_out_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        Parts(tmp_path / "file").get("part", {}, dict)


def test_a_killed_command_goes_on(dataset, tmp_path):
    """gr3d regress-latents, killed without warning when two parts are finished."""
    command = [sys.executable, "-m", "benchmark.cli", "regress-latents", "--data", str(dataset), "--device", "cpu"]
    command += ["--model", "torchvision:squeezenet1_1=random", "--model", "timm:resnet10t=random", "--side", "32"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    options = {"cwd": tmp_path, "env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}

    killed = subprocess.Popen([*command, "--out", "killed"], **options)
    waited = time.monotonic()
    while len(list((tmp_path / "killed" / FOLDER).glob("*.pt"))) < 2:
        assert killed.poll() is None and time.monotonic() - waited < 200, killed.communicate()[1]
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not (tmp_path / "killed" / "regression.json").exists()

    said = subprocess.run([*command, "--out", "killed"], **options, timeout=280)
    assert said.returncode == 0, said.stderr
    assert said.stderr.count("kept from before") >= 2
    assert not (tmp_path / "killed" / FOLDER).exists()
    whole = subprocess.run([*command, "--out", "whole"], **options, timeout=280)
    assert whole.returncode == 0, whole.stderr
    results = [json.loads((tmp_path / name / "regression.json").read_text()) for name in ("killed", "whole")]
    assert results[0] == results[1]
