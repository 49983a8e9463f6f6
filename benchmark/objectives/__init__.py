"""Training objectives. Each says how many views of an image it wants and which of the labels it is taught."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from benchmark.data.table import ImageTable
from benchmark.objectives.barlow_twins import BarlowTwins
from benchmark.objectives.byol import BYOL
from benchmark.objectives.latents import Latents, factor_columns
from benchmark.objectives.objective import Objective
from benchmark.objectives.rotation import Rotation
from benchmark.objectives.simclr import SimCLR
from benchmark.objectives.supervised import Supervised
from benchmark.objectives.vicreg import VICReg

if TYPE_CHECKING:
    from benchmark.training.config import RunConfig

# name -> (what the run is configured as, width of the network's output, the training images) -> objective
OBJECTIVES: dict[str, Callable[["RunConfig", int, ImageTable], Objective]] = {
    "simclr": lambda config, dim, table: SimCLR(config.temperature, by_class=config.positives == "class"),
    "rotation": lambda config, dim, table: Rotation(dim),
    "barlow-twins": lambda config, dim, table: BarlowTwins(config.redundancy),
    "vicreg": lambda config, dim, table: VICReg(config.vicreg),
    "byol": lambda config, dim, table: BYOL(dim),
    "supervised": lambda config, dim, table: Supervised(dim, table.categories),
    "latents": lambda config, dim, table: Latents(dim, factor_columns(table), table.categories),
}

__all__ = ["OBJECTIVES", "Objective"]
