"""Names and files of passes, and datasets that have them. What they show: tests/renderer/blender/test_passes.py."""

import io
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assets.errors import UserError
from renderer.images import png
from renderer.passes import ENDINGS, encode, is_depth, parse_passes, read_depth
from tests.needs import ROOT, needs_bpy
from tests.renderer.runs import N, run, shards, start, wait_for_images


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("", ()),
        ("mask", ("mask",)),
        (" normal,mask,normal ", ("mask", "normal")),
        ("normal,depth,mask", ("mask", "depth", "normal")),
    ],
)
def test_passes_have_one_order(typed, meant):
    assert parse_passes(typed) == meant


def test_unknown_pass_is_named():
    with pytest.raises(UserError, match=r"'depht'; there are mask, depth, normal") as refused:
        parse_passes("mask,depht")
    assert refused.value.exit_code == 2


def test_files_hold_what_was_put_in():
    rng = np.random.default_rng(0)
    mask, depth, normal = rng.random((9, 12)) < 0.5, rng.random((9, 12)) + 1, rng.normal(size=(9, 12, 3))
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encode("mask", mask)))), 255 * mask)
    shown = np.asarray(Image.open(io.BytesIO(encode("normal", normal))))
    assert np.abs(shown / 255 * 2 - 1 - normal).max() <= 1.001 / 255
    np.testing.assert_array_equal(read_depth(encode("depth", depth)), depth.astype(np.float32))


def damaged() -> list[bytes]:
    good = encode("depth", np.ones((4, 4)))
    pickled = io.BytesIO()
    np.save(pickled, np.array([object()]), allow_pickle=True)
    bad = [good[:-1], good[:20], b"", pickled.getvalue()]
    for values in (np.full((4, 4), np.nan), np.zeros((4, 4)), np.ones(4)):
        bad.append(encode("depth", values))
    return bad


@pytest.mark.parametrize("data", damaged())
def test_damaged_depths_are_refused(data):
    with pytest.raises(ValueError, match=r"."):
        read_depth(data)
    assert not is_depth(data)


PASSES = ["--passes", "normal,mask,depth"]


@pytest.fixture(scope="module")
def passed(tmp_path_factory) -> Path:
    """The run of tests/renderer/runs.py with all passes."""
    out = tmp_path_factory.mktemp("passed") / "data"
    done = run(out, N, *PASSES, "--workers", "2")
    assert done.returncode == 0, done.stderr
    return out


def tar_names(shard: Path) -> list[str]:
    with tarfile.open(shard) as tar:
        return tar.getnames()


def gr3d(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "benchmark.cli", *arguments], capture_output=True, text=True, timeout=120, cwd=ROOT
    )


def members(out: Path) -> dict[str, bytes]:
    files = {}
    for shard in out.glob("*.tar"):
        with tarfile.open(shard) as tar:
            files |= {member.name: tar.extractfile(member).read() for member in tar}
    return files


@needs_bpy
def test_images_and_labels_are_the_same_with_passes(passed, whole):
    with_passes, without = members(passed), members(whole)
    assert {name: with_passes[name] for name in without} == without
    assert {name.partition(".")[2] for name in with_passes} == {"jpg", "json", *ENDINGS.values()}
    assert len(with_passes) == 5 * N
    assert f"000000042.{ENDINGS['depth']}" in (passed / "README.md").read_text()


@needs_bpy
def test_webdataset_and_hugging_face_read_passes(passed, tmp_path):
    import datasets
    import webdataset

    urls = sorted(str(path) for path in passed.glob("*.tar"))
    samples = {s["__key__"]: s for s in webdataset.WebDataset(urls, shardshuffle=False).decode("pil")}
    assert len(samples) == N
    for sample in samples.values():
        assert set(np.unique(sample["mask.png"])) == {0, 255}
        assert sample["depth.npy"].shape == (32, 32) and sample["depth.npy"].dtype == np.float32
    for split in datasets.load_dataset(str(passed), cache_dir=str(tmp_path)).values():
        for sample in split:
            other = samples[sample["__key__"]]
            assert (sample["mask.png"].mode, sample["normal.png"].mode) == ("L", "RGB")
            np.testing.assert_array_equal(sample["depth.npy"], other["depth.npy"])
            np.testing.assert_array_equal(np.asarray(sample["normal.png"]), np.asarray(other["normal.png"]))


@needs_bpy
def test_killed_run_draws_again_what_lacks_a_pass(passed, tmp_path):
    out = tmp_path / "data"
    process = start(out, N, *PASSES)
    wait_for_images(out, process, 15)
    process.kill()
    process.communicate()
    done = sorted((out / ".spool").glob("*.jpg"))
    assert len(done) >= 3
    done[0].with_suffix(".mask.png").unlink()
    depth = done[1].with_suffix(".depth.npy")
    depth.write_bytes(depth.read_bytes()[:-1])
    assert run(out, N, *PASSES).returncode == 0
    assert shards(out) == shards(passed)


@needs_bpy
def test_shards_with_passes_grow(passed, tmp_path):
    out = tmp_path / "data"
    assert run(out, 40, *PASSES, "--workers", "1").returncode == 0
    grown = run(out, N, *PASSES)
    assert "60 of 60 images (100.0%)" in grown.stderr
    assert json.loads((out / "report.json").read_text())["rendered_in_this_run"] == N - 40
    assert shards(out) == shards(passed)
    assert not list((out / ".spool").glob("[0-9]*"))


@needs_bpy
def test_passes_are_part_of_what_a_dataset_is(whole, tmp_path):
    out = tmp_path / "data"
    shutil.copytree(whole, out)
    record = json.loads((out / "dataset.json").read_text())
    assert record["spec"].pop("passes") == []
    (out / "dataset.json").write_text(json.dumps(record))  # as gr3d 0.1.0 wrote it
    same = run(out, N)
    assert same.returncode == 0 and "nothing is left" in same.stdout
    other = run(out, N, "--passes", "mask")
    assert other.returncode == 2 and "passes [], not ['mask']" in other.stderr
    unknown = run(out, N, "--passes", "mask,albedo")
    assert unknown.returncode == 2 and "'albedo'" in unknown.stderr and unknown.stderr.count("\n") == 1


@needs_bpy
def test_verify_names_passes_that_are_wrong(passed, tmp_path):
    out = tmp_path / "data"
    shutil.copytree(passed, out)
    files = members(out)
    assert gr3d("verify", str(out)).returncode == 0
    first, second, third = sorted(name for name in tar_names(out / "val-000000.tar") if name.endswith(".jpg"))[:3]
    mask, depth, normal = (
        name.replace("jpg", ending) for name, ending in zip((first, second, third), ENDINGS.values(), strict=True)
    )
    files |= {mask: png(np.zeros((16, 16), np.uint8)), depth: encode("depth", np.zeros((32, 32)))}
    names = tar_names(out / "val-000000.tar")
    with tarfile.open(out / "val-000000.tar", "w") as tar:
        for name in names:
            if name != normal:
                member = tarfile.TarInfo(name)
                member.size = len(files[name])
                tar.addfile(member, io.BytesIO(files[name]))
    (out / "checksums" / "val-000000.sha256").unlink()  # without which only the content tells
    found = gr3d("verify", str(out))
    assert found.returncode == 1
    for name, wrong in ((mask, "is not 32 x 32"), (depth, "not positive"), (normal, "missing")):
        assert any(name in line and wrong in line for line in found.stdout.splitlines()), found.stdout
