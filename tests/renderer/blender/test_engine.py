"""Which device and how many samples; refusals."""

import pytest

from assets.errors import UserError
from tests.needs import needs_bpy
from tests.renderer.blender.helpers import Worker


@needs_bpy
@pytest.mark.parametrize(
    ("requested", "available", "chosen"),
    [
        ("auto", ["cpu"], "cpu"),
        ("auto", ["cpu", "cuda"], "cuda"),
        ("auto", ["cpu", "cuda", "optix"], "optix"),
        ("auto", ["metal", "cpu"], "metal"),
        ("cpu", ["cpu", "cuda"], "cpu"),
        ("hip", ["hip", "cpu"], "hip"),
    ],
)
def test_the_device(requested, available, chosen):
    from renderer.blender.engine import choose_device

    assert choose_device(requested, available) == chosen


@needs_bpy
@pytest.mark.parametrize("requested", ["cuda", "gpu"])
def test_a_device_that_is_not_there_is_refused(requested):
    from renderer.blender.engine import choose_device

    with pytest.raises(UserError, match=f"--device {requested}") as caught:
        choose_device(requested, ["cpu", "optix"])
    assert caught.value.exit_code == 2


@needs_bpy
def test_without_a_denoiser_there_are_more_samples():
    from renderer.blender.engine import choose_preset

    assert choose_preset("fast", has_denoiser=True).denoise
    without = choose_preset("fast", has_denoiser=False)
    assert not without.denoise
    assert without.spp > choose_preset("fast", has_denoiser=True).spp
    assert choose_preset("reference", has_denoiser=False) == choose_preset("reference", has_denoiser=True)


def test_ready_tells_what_was_resolved(worker, blender):
    engine = worker.first["engine"]
    assert worker.first["event"] == "ready"
    assert engine["device"] == "cpu"
    assert (engine["spp"], engine["denoiser"]) in ((8, "openimagedenoise"), (32, None))
    if worker.first["blender"].startswith("3.4"):
        assert engine["denoiser"] is None, "Debian's Blender 3.4 is built without a denoiser"


@needs_bpy
@pytest.mark.parametrize("wrong", [{"preset": "best"}, {"format": "gif"}, {"device": "abacus"}])
def test_what_is_unknown_is_fatal(tmp_path, wrong):
    with Worker("bpy", tmp_path, **wrong) as worker:
        (option,) = wrong
        assert worker.first["event"] == "fatal"
        assert f"--{option} {wrong[option]}" in worker.first["reason"]
        assert worker.close() != 0
