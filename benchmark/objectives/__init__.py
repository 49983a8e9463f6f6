"""Training objectives. Each says how many views of an image it wants and which of the labels it is taught."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from benchmark.objectives.objective import Objective
from benchmark.objectives.rotation import Rotation
from benchmark.objectives.simclr import SimCLR

if TYPE_CHECKING:
    from benchmark.training.config import RunConfig

# name -> (what the run is configured as, width of the network's output) -> objective
OBJECTIVES: dict[str, Callable[["RunConfig", int], Objective]] = {
    "simclr": lambda config, dim: SimCLR(config.temperature),
    "rotation": lambda config, dim: Rotation(dim),
}

__all__ = ["OBJECTIVES", "Objective"]
