"""DATASET as users write it: a folder, or KIND:PATH. A new kind is one class and one line here."""

from contextlib import suppress
from pathlib import Path

from benchmark.data.dataset import Dataset, Photographs
from benchmark.data.folders import ImageFolder, Unsplit, is_folder
from benchmark.data.published.cifar10 import Cifar10
from benchmark.data.published.clevr import Clevr
from benchmark.data.published.eurosat import EuroSat
from benchmark.data.published.fashion_mnist import FashionMnist
from benchmark.data.published.imagenet import ImageNet
from benchmark.data.published.imagenet_c import ImageNetC
from benchmark.data.published.places205 import Places205
from benchmark.data.published.webshards import WebShards
from benchmark.data.shards import Gr3dShards
from benchmark.errors import UserError

KINDS: dict[str, type[Photographs]] = {
    "cifar10": Cifar10,
    "clevr": Clevr,
    "eurosat": EuroSat,
    "fashion-mnist": FashionMnist,
    "imagenet": ImageNet,
    "imagenet-c": ImageNetC,
    "imagenet-wds": WebShards,
    "places205": Places205,
    "folder": Unsplit,  # last, as its files are the least particular
}


def open_dataset(text: str | Path) -> Dataset:
    """The dataset that `text` names: a folder of gr3d's shards or of images SPLIT/CATEGORY/NAME.jpg, or KIND:PATH with
    a KIND of KINDS (`fashion-mnist` alone is the one that Debian ships).

    Nothing is decoded and, of a large dataset, nothing read before it is asked for. UserError when nothing usable is
    there; it says what is expected and where to get it.
    """
    text = str(text)
    kind, colon, rest = text.partition(":")
    if kind in KINDS and (colon or not Path(text).is_dir()):
        return KINDS[kind](_path_of(kind, rest), text)
    path = Path(text)
    if colon and not path.exists() and "/" not in kind:
        raise UserError(f"{text}: no kind of dataset '{kind}'; known are {', '.join(KINDS)}", exit_code=2)
    if not path.is_dir():
        raise UserError(
            f"{text}: no such folder; render a dataset there first (gr3d render --out {text}), or name another "
            "(docs/data.md)"
        )
    if (path / "dataset.json").is_file():
        return Gr3dShards(path, text)
    if is_folder(path):
        return ImageFolder(path, text)
    raise UserError(
        f"{text}: not a gr3d dataset (it has no dataset.json), nor images as {text}/SPLIT/CATEGORY/NAME.jpg "
        f"with splits like train and val; {_hint(path, text)}"
    )


def _hint(path: Path, text: str) -> str:
    """How to name what is in the folder, as far as its files tell."""
    for kind, dataset in KINDS.items():
        with suppress(UserError):
            return f"if these are the files of {dataset(path, text).name}, give {kind}:{text}"
    return f"other datasets are named KIND:{text}, KIND one of {', '.join(KINDS)}"


def _path_of(kind: str, rest: str) -> Path:
    if rest:
        return Path(rest).expanduser()
    if kind == "fashion-mnist":
        return FashionMnist.of_debian
    raise UserError(f"{kind}: give its folder, {kind}:PATH; {KINDS[kind].expected()}", exit_code=2)
