"""The measuring functions of tests/performance, run for real on a CPU at sizes that take seconds; no time is judged."""

import argparse
import importlib.util
import sys
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

import pytest
import torch

from tests.needs import needs_foolbox

SCRIPTS = Path(__file__).parent / "performance"
CPU = torch.device("cpu")


def load(name: str) -> ModuleType:
    """A script as a module; they import each other by name, as scripts in a folder do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, name, module)  # where dataclasses look for it
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    return load("gpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_gpu_without_one_says_so(gpu, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--json", str(tmp_path / "numbers.json")])
    assert gpu.main() == 0
    assert capsys.readouterr().out == "no CUDA device: nothing to measure\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arch", ["resnet18", "vit-s16"])
def test_gpu_measures_a_network(gpu, arch):
    ceilings = gpu.measure_ceilings(CPU, side=128, megabytes=1)
    assert ceilings.operations > 0 and ceilings.bytes > 0
    (one,) = gpu.measure(gpu.Case(arch, 32, 4), CPU, ceilings, rounds=1, steps=1, modes=(False,))
    assert (one.arch, one.side, one.batch, one.compiled, one.memory) == (arch, 32, 4, False, None)
    assert one.alone > 0 and one.full > 0 and one.matmul > 0 and one.copy > 0
    assert one.ratio == pytest.approx(one.full / one.alone)
    assert arch in gpu.line(one)


def test_gpu_counts_what_a_step_computes_and_moves(gpu):
    """A matrix product of 8 x 16 by 16 x 32 and a sum; the transposed view moves nothing."""
    left, right = torch.ones(8, 16), torch.ones(32, 16)
    with gpu.FlopCounterMode(display=False) as products, gpu.Traffic() as traffic:
        (left @ right.T) + torch.ones(1).expand(8, 32)
    assert products.get_total_flops() == 2 * 8 * 16 * 32
    product, ones = 4 * 8 * 32, 4 * 1
    assert traffic.bytes == 4 * (8 * 16 + 16 * 32) + product + ones + (product + ones + product)


def test_gpu_states_what_is_missing(gpu):
    fast = gpu.Measured("resnet50", 224, 256, True, 4000.0, 3900.0, 0.975, 0.3, None, 50.0)
    slow = gpu.Measured(**{**asdict(fast), "compiled": False, "full": 2000.0, "ratio": 0.5})
    stand = gpu.targets([slow, fast])
    assert list(stand.values()) == [False, True, True]
    assert list(gpu.targets([slow]).values()) == [False, False]


def test_online_speed_times_every_part():
    script = load("online_speed")
    run = script.replace(script.RECIPES["small"]["simclr"], batch=4, head="none", precision="fp32")
    pooled = script.network.pooled
    try:
        trainer = script.Trainer(run, script.random_table(16, 32), CPU, online_probes=True)
        seconds = script.measure(trainer, rounds=1)
    finally:
        script.network.pooled = pooled
    assert all(value > 0 for value in seconds.values())
    assert seconds["judging"] < seconds["solving and judging"]


@pytest.mark.slow
@needs_foolbox
def test_decode_speed_compares_decoding_once_and_again(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    script = load("decode_speed")
    data = str(script.photographs(tmp_path / "photos", 16))
    table, numbers = script.decoded_once(data, side=32, batch=4)
    assert table.images.shape == (16, 3, 32, 32) and table.place == "mmap"
    run = script.replace(script.RECIPES["small"]["simclr"], batch=4, head="none", precision="fp32")
    records = list(script.open_dataset(data).source("train").records())
    rates = script.beside_training(run, table, records, CPU, threads=1, rounds=1, steps=1)
    assert numbers["images"] == 16 and all(value > 0 for value in rates.values())
    again = [script.Decoding(records, 32)[row] for row in range(16)]
    assert torch.equal(torch.stack(again), table.images)


def test_classify_speed_has_every_contender_near_gr3d(tmp_path):
    script = load("classify_speed")
    sizes = {"rows": 400, "width": 12, "classes": 3, "layers": 1, "peer_layers": 1, "epochs": 5}
    options = argparse.Namespace(**sizes, scratch=tmp_path)
    script.write_features(options)
    found = {name: getattr(script, name)(options) for name in script.CONTENDERS}
    exact = found["gr3d"]
    for name, own in found.items():
        assert own["accuracy"][0] == pytest.approx(exact["accuracy"][0], abs=0.15), name
        assert own["objective"][0] >= exact["objective"][0] - 1e-9, name
        assert name in script.line(name, {"seconds": 1.0, "peak_mib": 1.0, "libraries_mib": 1.0, **own}, exact)
    assert found["sklearn"]["difference"] < 0.01
