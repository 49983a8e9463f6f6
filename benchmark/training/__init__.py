"""Trains a network on a dataset's training split and reads trained runs back."""

from benchmark.training.config import RunConfig, TrainConfig
from benchmark.training.loop import train
from benchmark.training.run import is_finished, load_run

__all__ = ["RunConfig", "TrainConfig", "is_finished", "load_run", "train"]
