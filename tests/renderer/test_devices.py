"""Devices chosen, counted and divided, on given lists: no GPU is needed, and none was ever met."""

import sys

import pytest

from assets.errors import UserError
from renderer.command import ask_devices, find_blender
from renderer.devices import OPENGL, Choice, check, choose, must_ask, seats, worker_count
from tests.needs import needs_bpy

CPU = Choice("cpu", ("CPU",), "asked for")


def gpus(device: str, count: int) -> Choice:
    return Choice(device, tuple(f"GPU {number}" for number in range(count)), "asked for")


@pytest.mark.parametrize(
    ("requested", "found", "chosen"),
    [
        ("auto", [], "cpu"),
        ("auto", ["cpu"], "cpu"),
        ("auto", ["cuda"], "cuda"),
        ("auto", ["cuda", "optix"], "optix"),
        ("auto", ["oneapi", "hip"], "hip"),
        ("auto", ["metal", "cpu"], "metal"),
        ("cpu", ["cuda"], "cpu"),
        ("cuda", ["optix", "cuda"], "cuda"),
    ],
)
def test_the_device(requested, found, chosen):
    choice = choose(requested, {device: ["name"] for device in found})
    assert choice.device == chosen
    assert choice.names == (("CPU",) if chosen == "cpu" and "cpu" not in found else ("name",))
    assert ("auto" in choice.why) == (requested == "auto")


def test_a_type_without_devices_is_not_there():
    assert choose("auto", {"optix": [], "cuda": ["A"]}).device == "cuda"


@pytest.mark.parametrize("requested", ["cuda", "hip", "gpu"])
def test_what_is_not_there_is_refused_with_what_is(requested):
    with pytest.raises(UserError, match=f"--device {requested}: ") as caught:
        choose(requested, {"optix": ["RTX 6000", "RTX 6000"]})
    assert caught.value.exit_code == 2 and "\n" not in str(caught.value)
    if requested != "gpu":
        assert "cpu (CPU); optix (RTX 6000, RTX 6000)" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("cycles", "auto", "many", None), "--workers many"),
        (("cycles", "auto", "0", None), "--workers 0"),
        (("cycles", "auto", "auto", 0), "--workers-per-device 0"),
        (("cycles", "cuda", "4", 2), "--workers 4 --workers-per-device 2"),
        (("cycles", "cpu", "auto", 2), "--workers-per-device 2 --device cpu"),
        (("eevee", "cuda", "auto", None), "--engine eevee --device cuda"),
    ],
)
def test_contradictions_are_refused(options, says):
    with pytest.raises(UserError, match=says) as caught:
        check(*options)
    assert caught.value.exit_code == 2


def test_options_that_fit_together():
    for options in (("cycles", "cpu", "3", None), ("cycles", "auto", "auto", 2), ("eevee", "auto", "auto", 2)):
        check(*options)


@pytest.mark.parametrize(
    ("choice", "workers", "per_device", "cores", "count"),
    [
        (CPU, "auto", None, 8, 8),
        (CPU, "3", None, 8, 3),
        (gpus("cuda", 1), "auto", None, 16, 2),
        (gpus("cuda", 4), "auto", None, 16, 8),
        (gpus("cuda", 4), "auto", None, 6, 6),  # the default asks for no more than the cores can feed
        (gpus("cuda", 4), "auto", None, 2, 4),  # but every GPU has one
        (gpus("hip", 4), "auto", 3, 2, 12),
        (gpus("hip", 4), "5", None, 16, 5),
        (Choice(OPENGL, ("OpenGL",), ""), "auto", None, 8, 1),
        (Choice(OPENGL, ("OpenGL",), ""), "auto", 2, 8, 2),
    ],
)
def test_the_number_of_workers(choice, workers, per_device, cores, count):
    assert worker_count(choice, workers, per_device, cores) == count


def test_workers_per_gpu_without_one_are_refused():
    with pytest.raises(UserError, match="--workers-per-device 2") as caught:
        worker_count(choose("auto", {}), "auto", 2, 8)
    assert caught.value.exit_code == 2


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS pins no process to a core")
def test_cpu_workers_have_a_core_each_and_no_more_are_pinned_than_there_are():
    assert [seat.core for seat in seats(CPU, 2, [4, 6, 7], {})] == [4, 6]
    assert [seat.core for seat in seats(CPU, 3, [4, 6], {})] == [None] * 3
    assert all(seat.threads == 1 and not seat.environment for seat in seats(CPU, 2, [4, 6], {}))


@pytest.mark.parametrize(
    ("device", "variable", "inherited", "values"),
    [
        ("cuda", "CUDA_VISIBLE_DEVICES", None, ["0", "1", "0", "1"]),
        ("optix", "CUDA_VISIBLE_DEVICES", "2,5", ["2", "5", "2", "5"]),  # a job that was given two of a node's eight
        ("optix", "CUDA_VISIBLE_DEVICES", "GPU-8f3a,MIG-1c/1/0", ["GPU-8f3a", "MIG-1c/1/0"] * 2),
        ("hip", "HIP_VISIBLE_DEVICES", "", ["0", "1", "0", "1"]),
        ("oneapi", "ONEAPI_DEVICE_SELECTOR", "level_zero:*", ["level_zero:0", "level_zero:1"] * 2),
        ("oneapi", "ONEAPI_DEVICE_SELECTOR", "level_zero:1,3", ["level_zero:1", "level_zero:3"] * 2),
    ],
)
def test_each_worker_sees_one_gpu(device, variable, inherited, values):
    environment = {} if inherited is None else {variable: inherited}
    given = seats(gpus(device, 2), 4, list(range(16)), environment)
    assert [seat.environment for seat in given] == [{variable: value} for value in values]
    assert all(seat.number == 0 and seat.core is None and seat.threads == 4 for seat in given)


def test_metal_has_no_variable_so_workers_differ_by_number():
    given = seats(gpus("metal", 2), 4, list(range(8)), {})
    assert [(seat.number, seat.environment, seat.threads) for seat in given] == [(0, {}, 2), (1, {}, 2)] * 2


def test_a_selection_that_cannot_be_divided_is_refused():
    with pytest.raises(UserError, match="ONEAPI_DEVICE_SELECTOR=!opencl") as caught:
        seats(gpus("oneapi", 1), 1, [0], {"ONEAPI_DEVICE_SELECTOR": "!opencl:*"})
    assert caught.value.exit_code == 2


def test_blender_is_asked_only_where_a_gpu_could_be(monkeypatch, tmp_path):
    assert must_ask("cuda") and not must_ask("cpu")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("renderer.devices.DRIVER_FILES", [f"{tmp_path}/nvidia[0-9]*"])
    assert not must_ask("auto")
    (tmp_path / "nvidia0").touch()
    assert must_ask("auto")


@needs_bpy
def test_blender_says_what_it_finds():
    assert set(ask_devices(find_blender(None))) <= {"optix", "cuda", "hip", "oneapi", "metal"}


def test_a_blender_that_dies_of_its_drivers_is_one_line(tmp_path):
    program = tmp_path / "blender"
    program.write_text("#!/bin/sh\nkill -SEGV $$\n")
    program.chmod(0o755)
    with pytest.raises(UserError, match="when asked for its GPUs"):
        ask_devices([str(program)])
