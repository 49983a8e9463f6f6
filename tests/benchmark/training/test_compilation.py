"""torch.compile: the same numbers where it works, one line where it does not."""

import pytest
import torch
from torch import nn

from benchmark.errors import UserError
from benchmark.training.compilation import compiled, wants_compile


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))


def batch() -> torch.Tensor:
    return torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def full_precision() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=False)


@pytest.mark.slow
def test_compiled_network_is_the_same_function(network, capsys):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fast = compiled(network, batch(), full_precision())
    assert "does not work here" not in capsys.readouterr().err  # torch itself may say that it sees no CUDA
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    torch.testing.assert_close(fast(batch()), network(batch()))


def test_without_a_compiler_training_goes_on(network, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    network[2] = nn.GELU()  # another function than another test may have compiled in this process
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch._inductor.config.patch({"cpp.cxx": (None, "/no/such/compiler"), "force_disable_caches": True}):
        run = compiled(network, batch(), full_precision())
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("torch.compile: does not work here (")
    assert said.endswith("); training goes on without it")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert run(batch()).shape == (5, 2)


@pytest.mark.parametrize(
    ("choice", "device", "deterministic", "wanted"),
    [
        ("auto", "cpu", False, False),
        ("auto", "cuda", False, True),
        ("auto", "cuda", True, False),
        ("on", "cpu", True, True),
        ("off", "cuda", False, False),
    ],
)
def test_when_to_compile(choice, device, deterministic, wanted):
    assert wants_compile(choice, torch.device(device), deterministic) == wanted


def test_unknown_choice():
    with pytest.raises(UserError, match="--compile often: unknown; choose one of auto, on, off") as caught:
        wants_compile("often", torch.device("cpu"), False)
    assert caught.value.exit_code == 2
