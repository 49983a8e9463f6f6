"""latents.csv says what the shards say, sample for sample."""

import csv
import json
import tarfile

import pytest

from renderer import labels
from renderer.latents import LATENTS
from tests.needs import needs_bpy


@needs_bpy
def test_table_has_the_labels_of_every_sample(rendered):
    with (rendered / "latents.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert tuple(table[0]) == labels.COLUMNS
    in_shards = []
    for shard in sorted(rendered.glob("*.tar")):
        with tarfile.open(shard) as tar:
            names = tar.getnames()
            in_shards += [
                (shard.name, image, json.load(tar.extractfile(label)))
                for image, label in zip(names[::2], names[1::2], strict=True)
            ]
    assert len(table) == len(in_shards) == 40
    for line, (shard, image, sample) in zip(table, in_shards, strict=True):
        assert (line["shard"], line["file"], line["split"]) == (shard, image, sample["split"])
        assert (int(line["index"]), line["object_id"]) == (sample["index"], sample["object_id"])
        assert {name: float(line[name]) for name in LATENTS} == sample["latents"]
        assert [float(line[name]) for name in labels.QUATERNION] == sample["quaternion"]


def test_table_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / labels.FILE
    labels.write(path, [[1] * len(labels.COLUMNS)])
    before = path.read_bytes()

    def rows():
        yield [2] * len(labels.COLUMNS)
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        labels.write(path, rows())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [labels.FILE]
