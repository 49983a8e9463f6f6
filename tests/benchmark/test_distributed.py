"""Without torchrun there is one rank and nothing to exchange; two real ranks: tests/benchmark/objectives."""

import torch

from benchmark import distributed


def test_one_process_is_the_main_rank_of_one(monkeypatch):
    monkeypatch.setenv("RANK", "3")  # of a cluster's own scheduler: not enough to be torchrun's
    assert (distributed.rank(), distributed.world_size(), distributed.local_rank()) == (0, 1, 0)
    assert distributed.is_main()


def test_nothing_is_exchanged():
    x = torch.rand(2, 3)
    assert distributed.gather(x, dim=1) is x
    assert distributed.mean(x) is x


def test_without_torchrun_no_group_is_started():
    with distributed.started(torch.device("cpu")):
        assert not torch.distributed.is_initialized()
