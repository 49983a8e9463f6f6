"""What is wrong with a dataset folder."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from assets.errors import UserError
from renderer.files import read_json
from renderer.latents import quaternion, sample_latents
from renderer.threediebench.labels import SOURCE
from renderer.threediebench.labels import labels_are_right as converted


def verify(folder: Path, decode: Callable[[bytes], tuple[int, int]]) -> Iterator[str]:
    """Check every sealed shard of `folder`; yield one line per fault, none if all is well.

    Checks size and sha256, that every image decodes to the right size, and that latents, quaternion and split of every
    sample are the ones that its index gives.

    Args:
        folder: a dataset folder.
        decode: image bytes -> (width, height); raises on a damaged image.

    Raises UserError (exit code 2) for a folder that is no dataset, or whose records are damaged.
    """
    record = read_json(folder / "dataset.json", {})
    if not record:
        raise UserError(f"{folder} holds no dataset.json, so it is not a gr3d dataset", exit_code=2)
    sealed = read_json(folder / "checksums.json", {})
    try:
        side, seed = int(record["spec"]["resolution"]), int(record["spec"]["seed"])
        entries = {name: (str(entry["sha256"]), int(entry["samples"])) for name, entry in sealed.items()}
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{folder}: dataset.json or checksums.json is damaged; restore it or render again") from None
    labels_are_right = converted if record.get("source") == SOURCE else partial(_labels_are_right, seed=seed)
    if not entries:
        yield f"{folder}: no shard is sealed yet"
    for path in sorted(folder.glob("*.tar")):
        if path.name not in entries:
            yield f"{path}: not listed in checksums.json; the same render command puts that right"
    for name, (checksum, count) in entries.items():
        path = folder / name
        if not path.exists():
            yield f"{path}: missing; the same render command makes it again"
            continue
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != checksum:
            yield f"{path}: damaged (its sha256 differs); delete it and run the same render command"
        try:
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                files = {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}
        except (tarfile.TarError, EOFError) as error:
            yield f"{path}: not a whole tar ({error})"
            continue
        images = [file for file in files if not file.endswith(".json")]
        if len(images) != count:
            yield f"{path}: holds {len(images)} images, checksums.json says {count}"
        for image in images:
            stem = image.partition(".")[0]
            try:
                if decode(files[image]) != (side, side):
                    yield f"{path}: {image} is not {side} x {side}"
            except Exception as error:
                yield f"{path}: {image} does not decode ({error})"
            if not labels_are_right(files.get(f"{stem}.json", b""), stem, name):
                yield f"{path}: {stem}.json is missing or not what sample {stem} must have"


def _labels_are_right(data: bytes, stem: str, shard: str, seed: int) -> bool:
    try:
        labels = json.loads(data)
        latents = sample_latents(seed, int(stem))
        rotation = quaternion(latents)
        return (
            labels["index"] == int(stem)
            and shard.startswith(labels["split"] + "-")
            and bool(labels["object_id"])
            and labels["latents"] == latents
            # Sines may differ in the last bit between machines; the latents themselves may not.
            and all(abs(a - b) < 1e-12 for a, b in zip(labels["quaternion"], rotation, strict=True))
        )
    except (KeyError, ValueError, TypeError):
        return False
