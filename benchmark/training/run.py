"""The run directory: config.json, checkpoint.pt, log.jsonl, tensorboard/ and, once finished, report.json."""

import fcntl
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmark.errors import UserError, first_line
from benchmark.files import replacement, write_atomically
from benchmark.models import Network, build_network
from benchmark.training.config import RunConfig, check, from_dict, to_dict

CONFIG, CHECKPOINT, LOG, REPORT = "config.json", "checkpoint.pt", "log.jsonl", "report.json"
BOARD = "tensorboard"

_FORMAT = "gr3d-run-1"


@dataclass
class Checkpoint:
    """All that a run needs to go on. ``step`` steps are done; order, augmentations and all other random numbers follow
    from it and the seed, so that the state of no generator is kept.

    optimizer is None once the run is finished, teacher and online (probes) where there are none. seconds: training time
    so far. images: size of the training split. ranks: how many trained.
    """

    step: int
    images: int
    seconds: float
    network: dict
    objective: dict
    optimizer: dict | None
    teacher: dict | None = None
    online: dict | None = None
    ranks: int = 1


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Make the folder `run` and hold it for this process; the lock goes with the process, however that ends.

    UserError if another process holds it, or if it cannot be made.
    """
    with ExitStack() as held:
        try:
            run.mkdir(parents=True, exist_ok=True)
            file = held.enter_context((run / ".lock").open("w"))  # closed in programs that this one starts
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in run.glob(f".{CHECKPOINT}.*.tmp"):  # by a process killed while it wrote
                left.unlink()
        except BlockingIOError:
            raise UserError(
                f"--out {run}: another gr3d training is writing there; wait for it or choose another folder"
            ) from None
        except OSError as error:
            raise UserError(f"--out {run}: cannot be made or written ({error.strerror})") from error
        yield


def is_finished(run: Path) -> bool:
    """Whether training in this run directory has reached its last epoch."""
    return (Path(run) / REPORT).is_file()


def read_report(run: Path) -> dict:
    """report.json of a finished run. UserError when it is damaged."""
    path = run / REPORT
    try:
        report = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: damaged ({error}); delete it, then add --resume to have it written again") from error
    if not isinstance(report, dict) or not isinstance(report.get("images"), int):
        raise UserError(f"{path}: damaged (no number of images); delete it, then add --resume to have it written again")
    return report


def load_run(run: Path) -> tuple[Network, RunConfig]:
    """The network of a run directory, on the CPU in eval mode, and what it was trained as.

    The checkpoint may be from the middle of training: see is_finished. UserError for a folder that is no run, and for a
    checkpoint that is missing, damaged, not gr3d's, or from another architecture than config.json says.
    """
    run = Path(run)
    config = read_config(run)["run"]
    checkpoint = load_checkpoint(run)
    network = build_network(config.arch, config.stem, config.head, config.seed)
    load_weights(network, checkpoint.network, run)
    return network.eval(), config


def read_config(run: Path) -> dict:
    """config.json as {"run": RunConfig, "data": {"spec": dict}}. UserError for a folder that is no run."""
    path = run / CONFIG
    if not path.is_file():
        raise UserError(f"{run}: not a run of gr3d train (it has no {CONFIG})")
    try:
        stored = json.loads(path.read_text())
        if stored["format"] != _FORMAT:
            raise ValueError(f"format {stored['format']!r}, expected {_FORMAT!r}")
        config = from_dict(stored["run"])
        check(config)
        return {"run": config, "data": {"spec": dict(stored["data"]["spec"])}}
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: damaged, or not written by this version of gr3d train ({error})") from error


def write_config(run: Path, config: RunConfig, spec: dict) -> None:
    """spec: the dataset's, from its dataset.json."""
    write_json(run / CONFIG, {"format": _FORMAT, "run": to_dict(config), "data": {"spec": spec}})


def save_checkpoint(run: Path, checkpoint: Checkpoint) -> None:
    """Replace the run's checkpoint; at any moment the old one or the new one is there, whole.

    UserError when the folder cannot be written (no permission, no space); the previous checkpoint is then untouched.
    """
    path = run / CHECKPOINT
    try:
        with replacement(path) as file:
            torch.save({"format": _FORMAT, **vars(checkpoint)}, file)
    except (OSError, RuntimeError) as error:  # torch's zip writer reports a full disk as RuntimeError
        raise UserError(f"{path}: cannot be written ({first_line(error)}); make room, then add --resume") from error


def load_checkpoint(run: Path, command: str = "gr3d train") -> Checkpoint:
    """UserError when there is none or it cannot be used. Nothing in the file is executed (weights_only). command: that
    writes such runs."""
    path = run / CHECKPOINT
    if not path.is_file():
        raise UserError(f"{run}: has no {CHECKPOINT} yet; run {command} with --out {run} --resume")
    advice = f"{path}: damaged, or not a checkpoint of {command}"
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and the unpickler pass on whatever a torn or foreign file trips
        raise UserError(f"{advice} ({first_line(error)})") from error
    if not isinstance(stored, dict) or stored.pop("format", None) != _FORMAT:
        raise UserError(advice)
    stored.pop("rng", None)  # of runs begun before every step had a seed of its own
    try:
        checkpoint = Checkpoint(**stored)
    except TypeError as error:
        raise UserError(f"{advice} ({error})") from error
    if not (type(checkpoint.step) is int and checkpoint.step >= 0 and isinstance(checkpoint.seconds, float)):
        raise UserError(f"{advice} (step {checkpoint.step}, seconds {checkpoint.seconds})")
    return checkpoint


def check_resumed(checkpoint: Checkpoint, images: int, steps: int, out: Path) -> None:
    """UserError for a checkpoint of a training on another number of images, or of one with more than ``steps``."""
    if checkpoint.images != images:
        raise UserError(
            f"{out}: began with {checkpoint.images} training images, the dataset now has {images}; choose another --out"
        )
    if checkpoint.step > steps:
        raise UserError(f"{out / CHECKPOINT}: is of step {checkpoint.step}, this run has {steps}")


def load_weights(module: torch.nn.Module, state: dict, run: Path) -> None:
    """Load a state dict that must fit exactly; UserError naming the first entry that does not."""
    path = run / CHECKPOINT
    if not isinstance(state, dict):
        raise UserError(f"{path}: damaged, or not a checkpoint of gr3d train")
    own = module.state_dict()
    for name in [*own, *state]:
        ours, theirs = (getattr(values.get(name), "shape", None) for values in (own, state))
        if ours != theirs:
            raise UserError(
                f"{path}: from another architecture than {run / CONFIG} says: '{name}' is "
                f"{_shape(theirs)} in the checkpoint and {_shape(ours)} in the network"
            )
    try:
        module.load_state_dict(state)
    except RuntimeError as error:  # sparse, quantised, or without data
        raise UserError(f"{path}: its weights cannot be loaded ({first_line(error)})") from error


def write_json(path: Path, values: dict) -> None:
    """Write aside, then rename. UserError when it cannot be written."""
    write_atomically(path, (json.dumps(values, indent=2) + "\n").encode())


def _shape(shape: torch.Size | None) -> str:
    return "absent" if shape is None else " x ".join(map(str, shape)) or "a scalar"
