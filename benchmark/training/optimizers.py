"""AdamW, SGD and LARS, with weight decay only where it belongs."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from benchmark.errors import UserError
from benchmark.training.config import RunConfig

_TRUST = 1e-3  # LARS: the share of its own length by which a weight moves at lr 1, as in Barlow Twins' and BYOL's code

_TABLES = ("pos_embed", "position", "class_token", "cls_token", "reg_token", "mask_token")  # in ViTs' parameter names


def make_optimizer(modules: Sequence[nn.Module], run: RunConfig) -> Optimizer:
    """The optimizer ``run`` names over all parameters of ``modules``, in two groups: those that decay and the others.

    Biases, the scales and shifts of norms, everything else with one dimension, position embeddings and class tokens do
    not decay, and LARS moves them as plain SGD does.
    """
    named = [item for module in modules for item in module.named_parameters()]
    decayed = {"params": [parameter for name, parameter in named if _decays(name, parameter)]}
    others = {"params": [parameter for name, parameter in named if not _decays(name, parameter)], "weight_decay": 0.0}
    if run.optimizer == "lars":
        return LARS([decayed, {**others, "trust": None}], run.lr, run.momentum, run.weight_decay)
    if run.optimizer == "sgd":
        return SGD([decayed, others], run.lr, run.momentum, weight_decay=run.weight_decay)
    return AdamW([decayed, others], run.lr, weight_decay=run.weight_decay, fused=True)


def _decays(name: str, parameter: nn.Parameter) -> bool:
    return parameter.dim() > 1 and not any(table in name.rpartition(".")[2] for table in _TABLES)


def load_optimizer(optimizer: Optimizer, state: dict, path: Path) -> None:
    """Load a state dict that must be of the same optimizer over the same parameters; UserError, naming ``path``, if it
    is not."""
    try:
        for own, group in zip(optimizer.state_dict()["param_groups"], state["param_groups"], strict=True):
            for name in own.keys() - {"lr"}:
                if own[name] != group[name]:
                    raise ValueError(f"{name} is {group[name]}, should be {own[name]}")
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        for number, tensors in state["state"].items():
            for name, tensor in tensors.items():
                if tensor.shape not in ((), parameters[number].shape):
                    raise ValueError(f"{name} of parameter {number} has the shape {tuple(tensor.shape)}")
        optimizer.load_state_dict(state)
    except (TypeError, KeyError, ValueError, AttributeError, IndexError) as error:
        raise UserError(f"{path}: its optimizer's state does not fit this run ({error})") from error


class LARS(Optimizer):
    """Layer-wise adaptive rate scaling (You, Gitman and Ginsburg, 2017, algorithm 1), for large batches.

    SGD with momentum in which the step of a weight w with gradient g is g + decay * w, made ``trust`` * |w| /
    (|g| + decay * |w|) times as long; where w or g is zero, it stays as it is. A group whose ``trust`` is None takes
    plain steps. The momentum is over steps without lr, as torch's SGD has it.
    """

    def __init__(self, groups: list[dict], lr: float, momentum: float, weight_decay: float) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": _TRUST})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """``closure`` is there for torch's signature alone."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)

    def _move(self, parameter: nn.Parameter, group: dict) -> None:
        decay, trust = group["weight_decay"], group["trust"]
        step = parameter.grad.add(parameter, alpha=decay)
        if trust is not None:
            length, gradient = parameter.norm(), parameter.grad.norm()
            scale = trust * length / (gradient + decay * length)
            step.mul_(torch.where((length > 0) & (gradient > 0), scale, 1.0))  # no branch: a GPU need not be waited for
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = step
        else:
            state["momentum_buffer"].mul_(group["momentum"]).add_(step)
        parameter.sub_(state["momentum_buffer"], alpha=group["lr"])
