"""Nearest neighbours of every image under a frozen network: the second kind of positives of the paper's section 4."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.data.neighbours import MOST, Neighbours, identity, load_neighbours
from benchmark.data.place import available_memory, in_words
from benchmark.data.table import ImageTable, load_table
from benchmark.errors import UserError
from benchmark.objectives.objective import numbered
from benchmark.probes.features import read_layers, weights_hash
from benchmark.probes.progress import Progress
from benchmark.probes.subjects import Subject
from benchmark.training.device import resolve_device, use_own_cores

_SPARE = 8  # candidates beyond k that float32 proposes and float64 judges
_ROWS, _COLUMNS = 1024, 16384  # of a block of cosines: 64 MiB of float32
_JUDGED = 64  # rows whose candidates are compared in float64 at a time


def neighbours_file(
    name: str,
    subject: Subject,
    data: Path | str,
    k: int,
    out: Path,
    layer: str = "trunk",
    split: str = "train",
    device: str = "auto",
) -> dict:
    """Have the neighbours in the file ``out``, found now unless they are there already; return a report.

    Its entries: out, made (whether found now), images, k, network, layer, similarity (mean cosine), same_class (share
    of the neighbours that are of their image's class), chance (that share for images drawn at random). UserError for an
    ``out`` that holds anything else, and as `find_neighbours`.
    """
    place = resolve_device(device)
    use_own_cores()
    table = load_table(data, split)
    images = identity(data, split, table)
    there = load_neighbours(out) if out.exists() else None
    if there is None:
        found = find_neighbours(name, subject, table, images, k, layer, place)
        found.save(out)
    else:
        found = there
        asked = _network(name, subject.open(), subject, layer)
        if found.data != images or found.network != asked or found.places.shape[1] != k:
            raise UserError(f"--out {out}: holds neighbours by another network, --k or dataset; choose another file")
    number = numbered(table.categories).numpy()
    count = np.bincount(number)
    return {
        "out": str(out),
        "made": there is None,
        "images": len(table),
        "k": k,
        "network": name,
        "layer": layer,
        "similarity": float(found.similarity.mean()),
        "same_class": float((number[found.places] == number[:, None]).mean()),
        "chance": float((count * (count - 1)).sum() / (len(table) * (len(table) - 1))),
    }


def sentence(report: dict) -> str:
    """The report of `neighbours_file`, in a sentence."""
    return (
        f"{report['out']}: {'found' if report['made'] else 'there already:'} the {report['k']} nearest of "
        f"{report['images']} images by {report['layer']} of {report['network']}: mean cosine "
        f"{report['similarity']:.3f}, {report['same_class']:.1%} of the same class (by chance {report['chance']:.1%})"
    )


def find_neighbours(
    name: str,
    subject: Subject,
    table: ImageTable,
    images: dict,
    k: int,
    layer: str = "trunk",
    device: torch.device = torch.device("cpu"),  # noqa: B008  (immutable)
    batch_size: int = 256,
) -> Neighbours:
    """The k nearest of every image of a table by the cosine between the features of one layer, itself excluded.

    name: of the network, for messages; images: the table's `identity`. Features are those of the whole image, in eval
    mode and float32, averaged over a map's places. Memory: the images, and N * d float32 of features on the device.
    UserError for a layer that the network does not have, a k that is not below the number of images, features that do
    not fit into memory.
    """
    most = min(MOST, len(table) - 1)
    if not 1 <= k <= most:
        raise UserError(f"--k {k}: choose from 1 to {most} ({len(table)} images)", exit_code=2)
    network = subject.open()
    if layer not in network.layers:
        raise UserError(f"--layer {layer}: {name} has {', '.join(network.layers)}", exit_code=2)
    features = None
    try:
        for rows, read in read_layers(network, table.images, name, 1, device, batch_size):
            if features is None:
                features = _room(len(table), read[layer].shape[1], device)
            features[rows] = read[layer]
        places, similarity = nearest(features, k)
    except torch.OutOfMemoryError as error:
        raise UserError(f"{name}: its features do not fit into the GPU's memory; add --device cpu") from error
    return Neighbours(places, similarity, images, _network(name, network, subject, layer))


def _network(name: str, network: nn.Module, subject: Subject, layer: str) -> dict:
    """What found the neighbours, as it reads back from JSON."""
    said = {"name": name, "layer": layer, "weights": weights_hash(network), "config": subject.config}
    return json.loads(json.dumps(said))


def _room(count: int, width: int, device: torch.device) -> Tensor:
    """float32 (count, width). UserError where there is no room for it."""
    needed = 4 * count * width
    if device.type == "cpu" and needed > (free := available_memory()):
        raise UserError(f"the features take {in_words(needed)} of memory, {in_words(free)} are available")
    print(f"features: {count} x {width}, {in_words(needed)}", file=sys.stderr)
    return torch.empty((count, width), device=device)


def nearest(features: Tensor, k: int, rows: int = _ROWS, columns: int = _COLUMNS) -> tuple[np.ndarray, np.ndarray]:
    """(int64 (N, k), float32 (N, k)): each row's k nearest others by cosine, the nearest first, and their cosines.

    features: float32 (N, d), k < N, on any device. Exhaustive, in blocks of rows x columns: float32 proposes a few more
    than k, float64 judges them: where more than those lie within float32's error (1e-6) of each other, any of them may
    be taken. Of those judged equal cosines go by place. A row of zeros has a cosine of 0 with all.
    """
    count = len(features)
    unit = F.normalize(features, eps=torch.finfo(torch.float32).tiny)
    candidates = min(k + _SPARE, count - 1)
    places, similarity = np.empty((count, k), np.int64), np.empty((count, k), np.float32)
    progress = Progress("nearest neighbours", count)
    for start in range(0, count, rows):
        proposed = _proposed(unit, start, min(start + rows, count), candidates, columns)
        for first in range(0, len(proposed), _JUDGED):
            piece = slice(start + first, start + min(first + _JUDGED, len(proposed)))
            places[piece], similarity[piece] = _judged(features, piece, proposed[first : first + _JUDGED], k)
        progress.update(len(proposed))
    progress.finish()
    return places, similarity


def _proposed(unit: Tensor, start: int, stop: int, candidates: int, columns: int) -> Tensor:
    """int64 (stop - start, candidates): for rows start ... stop the others of the highest cosines, in any order."""
    mine = torch.arange(start, stop, device=unit.device)
    best = unit.new_empty((len(mine), 0))
    where = mine.new_empty((len(mine), 0))
    for left in range(0, len(unit), columns):
        cosine = unit[start:stop] @ unit[left : left + columns].T
        inside = (mine >= left) & (mine < left + columns)
        cosine[inside, mine[inside] - left] = -torch.inf
        values, found = cosine.topk(min(candidates, cosine.shape[1]), dim=1)
        best, where = torch.cat([best, values], dim=1), torch.cat([where, found + left], dim=1)
        if best.shape[1] > candidates:
            best, kept = best.topk(candidates, dim=1)
            where = where.gather(1, kept)
    return where


def _judged(features: Tensor, rows: slice, candidates: Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best of candidates (b, c) for the given rows, by cosines in float64, and those."""
    mine, theirs = features[rows].double(), features[candidates].double()
    lengths = mine.norm(dim=1)[:, None] * theirs.norm(dim=2)
    cosine = torch.einsum("bd,bcd->bc", mine, theirs) / torch.where(lengths > 0, lengths, 1.0)
    values, places = cosine.cpu().numpy(), candidates.cpu().numpy()
    order = np.lexsort((places, -values), axis=1)[:, :k]
    return np.take_along_axis(places, order, 1), np.take_along_axis(values, order, 1).astype(np.float32)
