"""DatasetSpec: everything that decides the bytes of a dataset, apart from the Blender that draws it."""

import math
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

from assets.catalog import Catalog
from assets.errors import UserError
from renderer.passes import parse_passes

__version__ = "0.1.0"

#: Split names in the order of their slots within a block. `val` holds objects that no other split shows.
SPLITS = ("train", "probe", "val_views", "val")
DEFAULT_SPLITS = "train=0.6,probe=0.2,val_views=0.05,val=0.15"
FORMATS = ("jpg", "png", "webp")
PRESETS = ("fast", "reference")
ENGINES = ("cycles", "eevee")
#: Fields that were added to the spec, with what they were before: what a dataset.json without them stands for.
BEFORE_ADDED = {"passes": [], "engine": "cycles"}
MAX_BLOCK = 1000


@dataclass(frozen=True)
class DatasetSpec:
    """The identity of a dataset. The number of samples is its extent, not part of this.

    Attributes:
        seed: 0 <= seed < 2**64.
        resolution: side of the square images in pixels.
        preset: "fast" or "reference" (see renderer/blender/engine.py).
        catalog_id: what the objects came from (see `catalog_id`).
        catalog_hash: sha256 over ids, categories and contents of all its objects.
        splits: split -> exact share as a decimal string ("0.6"); they add up to 1.
        shard_size: samples per full shard.
        format: image file extension.
        passes: further files of every sample, in the order of renderer.passes.ENDINGS.
        engine: Blender's engine, "cycles" or "eevee".
    """

    seed: int
    resolution: int
    preset: str
    catalog_id: str
    catalog_hash: str
    splits: tuple[tuple[str, str], ...]
    shard_size: int
    format: str
    passes: tuple[str, ...] = ()
    engine: str = "cycles"

    def to_json(self) -> dict:
        record = asdict(self) | {"passes": list(self.passes)}
        record["splits"] = {name: float(share) for name, share in self.splits}
        record["catalog"] = {"id": record.pop("catalog_id"), "hash": record.pop("catalog_hash")}
        return record

    @classmethod
    def from_json(cls, record: dict) -> "DatasetSpec":
        """The spec that `to_json` wrote; a field that is absent has its default.

        Raises KeyError, TypeError or ValueError for what `to_json` never wrote.
        """
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in record.items()}
        catalog = values.pop("catalog")
        values["splits"] = tuple((name, f"{share:g}") for name, share in values["splits"].items())
        return cls(**values, catalog_id=catalog["id"], catalog_hash=catalog["hash"])

    @cached_property
    def shares(self) -> dict[str, Fraction]:
        return {name: Fraction(share) for name, share in self.splits}

    @cached_property  # asked for with every sample
    def block(self) -> int:
        """Length of the smallest run of samples in which every split can have exactly its share."""
        return math.lcm(*(share.denominator for share in self.shares.values()))

    @property
    def val_share(self) -> float:
        return float(self.shares.get("val", 0))


def make_spec(
    catalog: Catalog,
    *,
    seed: int,
    resolution: int,
    preset: str,
    splits: str,
    shard_size: int,
    image_format: str,
    passes: str = "",
    engine: str = "cycles",
) -> DatasetSpec:
    """Check the user's options and make a spec of them. Raises UserError (exit code 2) naming the option."""
    if not 0 <= seed < 2**64:
        raise UserError(f"--seed {seed}: must be at least 0 and below 2**64", exit_code=2)
    if not 8 <= resolution <= 4096:
        raise UserError(f"--resolution {resolution}: must lie between 8 and 4096 pixels", exit_code=2)
    if shard_size < 1:
        raise UserError(f"--shard-size {shard_size}: must be at least 1", exit_code=2)
    return DatasetSpec(
        seed=seed,
        resolution=resolution,
        preset=preset,
        catalog_id=catalog_id(catalog),
        catalog_hash=catalog.content_hash,
        splits=parse_splits(splits),
        shard_size=shard_size,
        format=image_format,
        passes=parse_passes(passes),
        engine=engine,
    )


def catalog_id(catalog: Catalog) -> str:
    """The source as the user named it; of a folder its name alone, since the same folder can be named in many ways."""
    if catalog.objects and catalog.objects[0].source == "directory":
        return Path(catalog.source).resolve().name
    return catalog.source


def parse_splits(text: str) -> tuple[tuple[str, str], ...]:
    """Read "train=0.6,probe=0.2,..." into (("train", "0.6"), ...) in the order of SPLITS, without empty splits.

    Raises UserError (exit code 2) for unknown or repeated names, shares outside [0, 1], more than three
    decimals, or a sum other than 1.
    """

    def refuse(why: str) -> UserError:
        return UserError(f"--splits {text}: {why} (for example {DEFAULT_SPLITS})", exit_code=2)

    shares: dict[str, Fraction] = {}
    for item in text.split(","):
        name, _, value = item.strip().partition("=")
        if name not in SPLITS:
            raise refuse(f"no split is called '{name}'; the splits are {', '.join(SPLITS)}")
        if name in shares:
            raise refuse(f"'{name}' stands twice")
        try:
            shares[name] = Fraction(value)
        except (ValueError, ZeroDivisionError):
            raise refuse(f"'{value}' is not a share between 0 and 1") from None
        if not 0 <= shares[name] <= 1:
            raise refuse(f"the share of '{name}' is not between 0 and 1")
        if MAX_BLOCK % shares[name].denominator:
            raise refuse(f"the share of '{name}' has more than three decimals")
    if sum(shares.values()) != 1:
        raise refuse(f"the shares add up to {float(sum(shares.values())):g}, not 1")
    return tuple((name, f"{float(shares[name]):g}") for name in SPLITS if shares.get(name))


def differences(old: dict, new: dict) -> list[str]:
    """Name what differs between two specs as written by `to_json`, one phrase each ("seed 0, not 1")."""
    return [
        f"{name} {old.get(name)!r}, not {new.get(name)!r}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
