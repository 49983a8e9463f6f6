"""A dataset drawn in parts: who may run beside whom, and that the parts make the same bytes as one run."""

import hashlib
import json

import pytest

from assets.catalog import Catalog, ObjectRef
from assets.errors import UserError
from renderer.parts import Part, held, parse_part
from renderer.plan import Plan
from renderer.shards import merged
from renderer.spec import DEFAULT_SPLITS, make_spec
from tests.needs import needs_bpy
from tests.renderer.runs import N, images, run, shards, start, wait_for_images


def make_plan() -> Plan:
    catalog = Catalog("test", tuple(ObjectRef(f"o{i:03d}", "procedural", "chair", digest=str(i)) for i in range(30)))
    options = {"seed": 4, "resolution": 64, "preset": "fast", "splits": DEFAULT_SPLITS}
    return Plan(make_spec(catalog, **options, shard_size=50, image_format="jpg"), catalog)


def test_parts_cover_every_shard_once_and_are_balanced():
    plan = make_plan()
    for n, count in [(2000, 1), (2000, 3), (2000, 8), (37, 4), (120, 50)]:
        pieces = plan.parts(n, count)
        assert len(pieces) == count
        together = {name: members for piece in pieces for name, members in piece.items()}
        assert together == plan.shards(n)
        assert sum(map(len, pieces)) == len(together)
        sizes = [sum(map(len, piece.values())) for piece in pieces]
        assert max(sizes) - min(sizes) <= max(map(len, together.values()))


def test_a_part_holds_neighbouring_shards_of_each_split():
    for piece in make_plan().parts(4000, 5):
        for split in ("train", "probe", "val"):
            numbers = sorted(int(name[-10:-4]) for name in piece if name.rpartition("-")[0] == split)
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


@pytest.mark.parametrize("text", ["3", "0/4", "5/4", "a/b", "1/", "-1/4", "1/100001"])
def test_bad_part_is_named(text):
    with pytest.raises(UserError, match="--part"):
        parse_part(text)


def test_whole_run_is_alone_and_parts_run_side_by_side(tmp_path):
    with held(tmp_path, None, 10):
        for other in (None, Part(1, 2)):
            with pytest.raises(UserError, match="another gr3d render"), held(tmp_path, other, 10):
                pass
    with held(tmp_path, Part(1, 2), 10), held(tmp_path, Part(2, 2), 10):
        with pytest.raises(UserError, match="part 1/2 is being rendered already"), held(tmp_path, Part(1, 2), 10):
            pass
        with pytest.raises(UserError, match="another gr3d render"), held(tmp_path, None, 10):
            pass


@pytest.mark.parametrize(("other", "n"), [(Part(1, 3), 10), (Part(2, 2), 20)])
def test_parts_that_may_overlap_are_refused(tmp_path, other, n):
    refused = pytest.raises(UserError, match="part 1/2 of --n 10 is being rendered")
    with held(tmp_path, Part(1, 2), 10), refused, held(tmp_path, other, n):
        pass
    with held(tmp_path, other, n):
        pass


def test_where_lists_disagree_the_shard_decides(tmp_path):
    (tmp_path / "train-000000.tar").write_bytes(b"the longer one")
    digest = hashlib.sha256(b"the longer one").hexdigest()
    old = {"train-000000.tar": {"sha256": "0" * 64, "bytes": 14, "samples": 9}}
    new = {"train-000000.tar": {"sha256": digest, "bytes": 14, "samples": 10}}
    assert merged(tmp_path, [old, new]) == merged(tmp_path, [new, old]) == new


@pytest.mark.slow
@needs_bpy
def test_parts_at_once_and_joined_give_the_bytes_of_one_run(whole, tmp_path):
    out = tmp_path / "data"
    begun = [start(out, N, "--workers", "1", "--part", f"{number}/3") for number in (1, 2, 3)]
    for process in begun:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    assert not (out / "checksums.json").exists() and not (out / "report.json").exists()
    joined = run(out)
    assert joined.returncode == 0, joined.stderr
    report = json.loads((out / "report.json").read_text())
    assert report["rendered_in_this_run"] == 0 and report["in_shards"] == N
    assert sum(part["rendered_in_this_run"] for part in report["parts"].values()) == N
    assert shards(out) == shards(whole)
    assert (out / "checksums.json").read_bytes() == (whole / "checksums.json").read_bytes()
    assert not (out / ".parts").exists() and (out / "README.md").exists()
    assert "nothing is left" in run(out).stdout
    assert run(out, 100, "--part", "2/2").returncode == run(out, 100).returncode == 0  # a larger n, after the join
    assert json.loads((out / "report.json").read_text())["in_shards"] == 100
    assert run(tmp_path / "fresh", 100).returncode == 0
    assert shards(out) == shards(tmp_path / "fresh")


@needs_bpy
def test_a_killed_part_another_division_and_the_join_draw_nothing_twice(whole, tmp_path):
    out = tmp_path / "data"
    process = start(out, N, "--part", "1/2")
    wait_for_images(out, process, 8)
    process.kill()
    process.communicate()
    kept = images(out)
    assert kept >= 8
    drawn = []
    for part in ("1/3", "1/3", "2/3"):
        done = run(out, N, "--part", part, "--json")
        assert done.returncode == 0, done.stderr
        drawn.append(json.loads(done.stdout)["rendered_in_this_run"])
    assert drawn[1] == drawn[0]  # the second time it only repeats its report
    done = run(out, N, "--json")
    assert done.returncode == 0, done.stderr
    drawn.append(json.loads(done.stdout)["rendered_in_this_run"])
    assert drawn[0] + drawn[2] + drawn[3] <= N - kept
    assert shards(out) == shards(whole)
