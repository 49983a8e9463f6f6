"""Shards on disk: spool of single images, sealing into tars, resuming, verifying.

    DIR/dataset.json       the spec, and the versions of gr3d and Blender that drew it
    DIR/checksums.json     sha256, size and number of samples of every sealed shard
    DIR/quarantine.json    objects that could not be used, with the reason
    DIR/train-000000.tar   sealed shards: a file under this name is complete
    DIR/README.md          and objects.csv, latents.csv, croissant.json: what the dataset says of itself (card.py)
    DIR/.spool/            images of shards that are not complete yet

Every file is written aside, synced and renamed, so a reader or a resumed run never meets half of one.
"""

import fcntl
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from assets.errors import UserError
from renderer.latents import quaternion, sample_latents
from renderer.plan import Plan, Sample
from renderer.spec import __version__, differences


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` for one run. Raises UserError if another run holds it."""
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{folder}: another gr3d render is writing there; wait for it or use another --out"
            ) from None
        yield


def write_atomically(path: Path, data: bytes) -> None:
    """Put `data` under `path` so that a kill or a power cut leaves the old file or the new one."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        with suppress(OSError):
            aside.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: object) -> None:
    write_atomically(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def read_json(path: Path, default: object) -> dict:
    """The JSON object in `path`, `default` if there is no such file. Raises UserError if it is damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return default
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: cannot be read ({error}); restore it, or render into another --out") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: does not hold a JSON object; restore it, or render into another --out")
    return value


@dataclass
class Dataset:
    """A dataset folder that one run has opened for writing.

    Attributes:
        sealed: shard name -> {"sha256", "bytes", "samples"}, as in checksums.json.
        quarantined: object id -> reason, as in quarantine.json.
    """

    folder: Path
    plan: Plan
    sealed: dict[str, dict]
    quarantined: dict[str, str]

    @property
    def spool(self) -> Path:
        return self.folder / ".spool"

    def spooled(self, index: int) -> Path:
        """Where the image of sample `index` waits for its shard to be sealed."""
        return self.spool / f"{index:09d}.{self.plan.spec.format}"

    def has_image(self, index: int) -> bool:
        """Whether a whole image of sample `index` is in the spool."""
        try:
            return is_whole(self.spooled(index).read_bytes(), self.plan.spec.format)
        except FileNotFoundError:
            return False

    def quarantine(self, object_id: str, reason: str) -> None:
        self.quarantined[object_id] = reason
        write_json(self.folder / "quarantine.json", dict(sorted(self.quarantined.items())))

    def seal(self, name: str, members: list[int]) -> None:
        """Write shard `name` from the spooled images of `members`, list it, and empty the spool of them."""
        samples = [self.plan.sample(i) for i in self.plan.tar_order(members)]
        data = tar_bytes((sample, self.spooled(sample.index)) for sample in samples)
        write_atomically(self.folder / name, data)
        self.sealed[name] = {
            "sha256": hashlib.sha256(data).hexdigest(),
            "bytes": len(data),
            "samples": len(samples),
        }
        write_json(self.folder / "checksums.json", dict(sorted(self.sealed.items())))
        for index in members:
            self.spooled(index).unlink(missing_ok=True)

    def unseal(self, name: str) -> None:
        """Bring the images of a shard that has to grow back into the spool. Damaged ones are rendered again."""
        with suppress(tarfile.TarError, EOFError, OSError), tarfile.open(self.folder / name) as tar:
            for member in tar:
                stem, _, extension = member.name.partition(".")
                if stem.isdecimal() and extension == self.plan.spec.format and member.isfile():
                    write_atomically(self.spooled(int(stem)), tar.extractfile(member).read())

    def _held(self, name: str) -> set[int]:
        """Indices of the samples in a shard on disk."""
        with tarfile.open(self.folder / name) as tar:
            return {int(stem) for stem in (n.partition(".")[0] for n in tar.getnames()) if stem.isdecimal()}

    def missing(self, n: int) -> dict[str, list[int]]:
        """The shards of the first `n` samples that are not sealed whole: name -> members to have.

        A shard on disk that checksums.json does not list (killed between the two writes), or that has to grow, is
        taken apart and its images used again; one of another size than listed is rendered again. Samples of
        quarantined objects are left out, unless their image was made before the quarantine.
        """
        lost = {i for visit in self.plan.visits(n) if visit.object.id in self.quarantined for i in visit.indices}
        incomplete = {}
        for name, members in self.plan.shards(n).items():
            path, entry = self.folder / name, self.sealed.get(name)
            size = path.stat().st_size if path.exists() else None
            intact = entry is not None and size == entry["bytes"]
            wanted = [i for i in members if i not in lost]
            if intact and (entry["samples"] >= len(members) or self._held(name).issuperset(wanted)):
                continue
            if size is not None and (intact or entry is None):
                self.unseal(name)
            if members := [i for i in members if i not in lost or self.has_image(i)]:
                incomplete[name] = members
        return incomplete


def is_whole(data: bytes, image_format: str) -> bool:
    """Whether an image file has its beginning and its end: enough to tell one that a power cut shortened."""
    if image_format == "webp":
        return data.startswith(b"RIFF") and len(data) == int.from_bytes(data[4:8], "little") + 8
    start, end = {"jpg": (b"\xff\xd8", b"\xff\xd9"), "png": (b"\x89PNG", b"IEND\xaeB`\x82")}[image_format]
    return data.startswith(start) and data.endswith(end) and len(data) > len(start) + len(end)


def tar_bytes(samples: Iterator[tuple[Sample, Path]]) -> bytes:
    """A POSIX tar in WebDataset convention, `key.jpg` then `key.json` per sample; same input, same bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for sample, image in samples:
            metadata = json.dumps(sample.metadata(), sort_keys=True, ensure_ascii=False).encode()
            for suffix, data in ((image.suffix, image.read_bytes()), (".json", metadata)):
                info = tarfile.TarInfo(sample.key + suffix)  # mtime, uid and gid are 0, no names
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def open_dataset(folder: Path, plan: Plan) -> Dataset:
    """Make or resume the dataset in `folder` (which must be locked).

    Raises UserError if the folder holds another dataset's spec (naming what differs) or foreign files.
    """
    for leftover in [*folder.glob(".*.tmp"), *(folder / ".spool").glob(".*")]:  # of a killed run
        leftover.unlink(missing_ok=True)
    record = read_json(folder / "dataset.json", {})
    if record:
        if changed := differences(record.get("spec", {}), plan.spec.to_json()):
            raise UserError(
                f"{folder} holds another dataset: its {'; its '.join(changed)}. Use the same options or another --out",
                exit_code=2,
            )
    elif foreign := sorted(p.name for p in folder.iterdir() if p.name not in (".lock", ".spool")):
        raise UserError(f"{folder} is not empty ({foreign[0]}) and holds no dataset; use another --out", exit_code=2)
    else:
        write_json(folder / "dataset.json", {"gr3d": __version__, "blender": None, "spec": plan.spec.to_json()})
    (folder / ".spool").mkdir(exist_ok=True)
    return Dataset(
        folder=folder,
        plan=plan,
        sealed=read_json(folder / "checksums.json", {}),
        quarantined=read_json(folder / "quarantine.json", {}),
    )


def stamp_blender(folder: Path, blender: str, engine: dict) -> None:
    """Write into dataset.json which Blender draws it, and how. Raises UserError if another one drew part of it."""
    record = read_json(folder / "dataset.json", {})
    if record.get("blender") not in (None, blender):
        raise UserError(
            f"{folder} was begun with Blender {record['blender']}, this is {blender}: the same samples would differ. "
            "Use that one (--blender PATH) or another --out"
        )
    drawn = {**engine, **record.get("engine", {}), "device_names": engine["device_names"]}
    if changed := differences(drawn, engine):
        raise UserError(
            f"{folder} was begun with another engine: {'; '.join(changed)}: the same samples would differ. "
            "Use the same device or another --out"
        )
    write_json(folder / "dataset.json", {**record, "blender": blender, "engine": engine})


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
            if not _labels_are_right(files.get(f"{stem}.json", b""), stem, name, seed):
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
