"""Shards on disk: spool of single images, sealing into tars, resuming.

    DIR/dataset.json       the spec, and the versions of gr3d and Blender that drew it
    DIR/checksums.json     sha256, size and number of samples of every sealed shard
    DIR/checksums/         train-000000.sha256: sha256 of every file in that shard, as `sha256sum` writes them
    DIR/quarantine.json    objects that could not be used, with the reason
    DIR/train-000000.tar   sealed shards: a file under this name is complete
    DIR/README.md          and objects.csv, latents.csv, croissant.json: what the dataset says of itself (card.py)
    DIR/.spool/            images, with their passes, of shards that are not complete yet
    DIR/.parts/            what parts of the dataset keep for themselves (see renderer/parts.py)

Every file is written aside, synced and renamed, so a reader or a resumed run never meets half of one.
"""

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Container, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from assets.errors import UserError
from renderer.files import read_json, write_atomically, write_json
from renderer.parts import FOLDER as PARTS
from renderer.parts import Part, homes, records
from renderer.passes import ENDINGS, is_depth
from renderer.plan import Plan, Sample, Visit
from renderer.spec import BEFORE_ADDED, __version__, differences

DIGESTS = "checksums"
#: What a run may have left in a folder before it wrote dataset.json.
BEGINNINGS = (".lock", ".records.lock", ".spool", PARTS)


@dataclass
class Dataset:
    """A dataset folder, or one part of it, that one run has opened for writing.

    Attributes:
        part: the part that this run draws, None for the whole.
        sealed: shard name -> {"sha256", "bytes", "samples"}, of all parts.
        quarantined: object id -> reason, of all parts.
        own_sealed, own_quarantined: what this run's own lists hold; the same objects where there are no parts.
        broken: shards to make again, whatever is on disk.
    """

    folder: Path
    plan: Plan
    part: Part | None
    sealed: dict[str, dict]
    quarantined: dict[str, str]
    own_sealed: dict[str, dict]
    own_quarantined: dict[str, str]
    broken: set[str] = field(default_factory=set)

    @property
    def home(self) -> Path:
        """Where the lists and the report of this run belong."""
        return self.part.home(self.folder) if self.part else self.folder

    @property
    def desk(self) -> Path:
        """Where this run keeps its logs and unfinished files."""
        return self.home if self.part else self.spool

    @property
    def spool(self) -> Path:
        return self.folder / ".spool"

    def spooled(self, index: int) -> Path:
        """Where the image of sample `index` waits for its shard to be sealed."""
        return self.spool / f"{index:09d}.{self.plan.spec.format}"

    def files(self, index: int) -> list[Path]:
        """Where all files that are drawn of sample `index` wait: its image, then its passes."""
        endings = (ENDINGS[name] for name in self.plan.spec.passes)
        return [self.spooled(index), *(self.spool / f"{index:09d}.{ending}" for ending in endings)]

    def has_image(self, index: int) -> bool:
        """Whether the image of sample `index` is in the spool, whole, and with all its passes."""
        try:
            return all(is_whole(path.read_bytes(), path.suffix[1:]) for path in self.files(index))
        except FileNotFoundError:
            return False

    def discard(self, index: int) -> None:
        """Take what is drawn of sample `index` out of the spool, the image first: without it, no pass counts."""
        for path in self.files(index):
            path.unlink(missing_ok=True)

    def waiting(self, wanted: Container[int]) -> set[int]:
        """Those of `wanted` whose image is in the spool."""
        stems = {path.stem for path in self.spool.iterdir()}  # one listing, where 500,000 questions would take minutes
        return {i for i in map(int, filter(str.isdecimal, stems)) if i in wanted and self.has_image(i)}

    def drop(self, done: Container[int]) -> None:
        """Clear the spool of the samples in `done`: of shards whose run was killed between sealing and clearing."""
        for path in list(self.spool.iterdir()):
            stem = path.name.partition(".")[0]
            if stem.isdecimal() and int(stem) in done:
                path.unlink(missing_ok=True)

    def quarantine(self, object_id: str, reason: str) -> None:
        self.quarantined[object_id] = self.own_quarantined[object_id] = reason
        write_json(self.home / "quarantine.json", dict(sorted(self.own_quarantined.items())))

    def seal(self, name: str, members: list[int]) -> None:
        """Write shard `name` from the spooled images of `members`, list it, and empty the spool of them."""
        samples = [self.plan.sample(i) for i in self.plan.tar_order(members)]
        data = tar_bytes((sample, self.files(sample.index)) for sample in samples)
        write_digests(self.folder, name, data)
        write_atomically(self.folder / name, data)
        self.sealed[name] = self.own_sealed[name] = {
            "sha256": hashlib.sha256(data).hexdigest(),
            "bytes": len(data),
            "samples": len(samples),
        }
        write_json(self.home / "checksums.json", dict(sorted(self.own_sealed.items())))
        for index in members:
            self.discard(index)

    def unseal(self, name: str) -> None:
        """Bring what can be trusted of a shard back into the spool: files that still have their own checksum.

        Without a list of those, a shard of the listed size, or of no listed one, is trusted whole.
        """
        path, entry, digests = self.folder / name, self.sealed.get(name), read_digests(self.folder, name)
        if not digests and entry is not None and path.stat().st_size != entry["bytes"]:
            return
        with suppress(tarfile.TarError, EOFError, OSError):
            for file, data in tar_files(path.read_bytes()):
                stem = file.partition(".")[0]
                trusted = not digests or hashlib.sha256(data).hexdigest() == digests.get(file)
                if trusted and stem.isdecimal() and (path := self.spool / file) in self.files(int(stem)):
                    write_atomically(path, data)

    def _held(self, name: str) -> set[int]:
        """Indices of the samples in a shard on disk."""
        with tarfile.open(self.folder / name) as tar:
            return {int(stem) for stem in (n.partition(".")[0] for n in tar.getnames()) if stem.isdecimal()}

    def missing(self, shards: dict[str, list[int]]) -> dict[str, list[int]]:
        """Those of `shards` (name -> samples to have) that are not sealed whole.

        A shard on disk that no list names (killed between the two writes), that has another size than listed, or that
        has to grow, is taken apart and its images used again. Samples of quarantined objects are left out, unless
        their image was made before the quarantine.
        """
        lost = {i for visit in self.visits(shards) if visit.object.id in self.quarantined for i in visit.indices}
        incomplete = {}
        for name, members in shards.items():
            path, entry = self.folder / name, self.sealed.get(name)
            size = path.stat().st_size if path.exists() else None
            wanted = [i for i in members if i not in lost]
            if (
                name not in self.broken
                and entry is not None
                and size == entry["bytes"]
                and (entry["samples"] >= len(members) or self._held(name).issuperset(wanted))
            ):
                continue
            if size is not None and name not in self.broken:
                self.unseal(name)
            if members := [i for i in members if i not in lost or self.has_image(i)]:
                incomplete[name] = members
        return incomplete

    def visits(self, shards: dict[str, list[int]]) -> Iterator[Visit]:
        """The work for all samples of `shards`, earliest first."""
        wanted = {i for members in shards.values() for i in members}
        for visit in self.plan.visits(1 + max(wanted, default=-1)):
            if indices := tuple(i for i in visit.indices if i in wanted):
                yield Visit(visit.object, indices)

    def take_over_parts(self) -> None:
        """List under this run's own name what any part has sealed or quarantined."""
        if self.part is None and homes(self.folder):
            write_json(self.folder / "checksums.json", dict(sorted(self.sealed.items())))
            write_json(self.folder / "quarantine.json", dict(sorted(self.quarantined.items())))

    def dissolve_parts(self) -> None:
        """Clear away the parts' own folders, once all they held is taken over and reported."""
        shutil.rmtree(self.folder / PARTS, ignore_errors=True)

    def sweep(self, shards: Iterable[str]) -> None:
        """Clear away what killed runs of this part, or of any, left unfinished; `shards` are this run's own."""
        if self.part:
            leftovers = [path for name in shards for path in self.folder.glob(f".{name}.*.tmp")]
        else:
            leftovers = [*self.folder.glob(".*.tmp"), *(self.folder / DIGESTS).glob(".*.tmp"), *self.spool.glob(".*")]
        for path in [*leftovers, *self.desk.glob(".*.tmp")]:
            path.unlink(missing_ok=True)
        for path in self.desk.glob("unfinished-*"):
            shutil.rmtree(path)


def digests_path(folder: Path, name: str) -> Path:
    """Where the checksums of the single files in shard `name` stand."""
    return folder / DIGESTS / (name.removesuffix(".tar") + ".sha256")


def write_digests(folder: Path, name: str, data: bytes) -> None:
    """List the checksums of the single files in shard `name`, whose content is `data`."""
    lines = (f"{hashlib.sha256(content).hexdigest()}  {file}\n" for file, content in tar_files(data))
    write_atomically(digests_path(folder, name), "".join(lines).encode())


def read_digests(folder: Path, name: str) -> dict[str, str]:
    """File name -> sha256 (hex) for every file in shard `name`; empty if that was never written, or is damaged."""
    try:
        lines = digests_path(folder, name).read_text().splitlines()
        return {file: digest for digest, file in (line.split("  ", 1) for line in lines)}
    except (OSError, ValueError):
        return {}


def tar_files(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and content of the files in a tar. Raises tarfile.TarError or EOFError where it is damaged."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            if member.isfile():
                yield member.name, tar.extractfile(member).read()


def is_whole(data: bytes, file_format: str) -> bool:
    """Whether an image or a pass has its beginning and its end: enough to tell one that a power cut shortened."""
    if file_format == "npy":
        return is_depth(data)
    if file_format == "webp":
        return data.startswith(b"RIFF") and len(data) == int.from_bytes(data[4:8], "little") + 8
    start, end = {"jpg": (b"\xff\xd8", b"\xff\xd9"), "png": (b"\x89PNG", b"IEND\xaeB`\x82")}[file_format]
    return data.startswith(start) and data.endswith(end) and len(data) > len(start) + len(end)


def tar_bytes(samples: Iterator[tuple[Sample, list[Path]]]) -> bytes:
    """A POSIX tar in WebDataset convention, `key.jpg`, passes, then `key.json` per sample; same input, same bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for sample, files in samples:
            metadata = json.dumps(sample.metadata(), sort_keys=True, ensure_ascii=False).encode()
            drawn = ((path.name.partition(".")[2], path.read_bytes()) for path in files)
            for ending, data in (*drawn, ("json", metadata)):
                info = tarfile.TarInfo(f"{sample.key}.{ending}")  # mtime, uid and gid are 0, no names
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def open_dataset(folder: Path, plan: Plan, part: Part | None = None, command: dict | None = None) -> Dataset:
    """Make or resume the dataset in `folder`, or one part of it, which must be held (see renderer/parts.py).

    `command` is no part of the identity: what `gr3d verify` needs to draw samples again. It stands in dataset.json.

    Raises UserError if the folder holds another dataset's spec (naming what differs) or foreign files.
    """
    with records(folder):
        for leftover in folder.glob(".dataset.json.*.tmp"):  # of a killed run
            leftover.unlink()
        record = read_json(folder / "dataset.json", {})
        if record:
            if changed := differences({**BEFORE_ADDED, **record.get("spec", {})}, plan.spec.to_json()):
                raise UserError(
                    f"{folder} holds another dataset: its {'; its '.join(changed)}. Use the same options or another "
                    "--out",
                    exit_code=2,
                )
        elif foreign := sorted(p.name for p in folder.iterdir() if not p.name.startswith(BEGINNINGS)):
            raise UserError(
                f"{folder} is not empty ({foreign[0]}) and holds no dataset; use another --out", exit_code=2
            )
        begun = record or {"gr3d": __version__, "blender": None, "spec": plan.spec.to_json()}
        if record != (now := begun | ({"command": command} if command else {})):
            write_json(folder / "dataset.json", now)
        for needed in (".spool", DIGESTS):
            (folder / needed).mkdir(exist_ok=True)
    lists = [folder, *homes(folder)]
    quarantined = {}
    for home in lists:
        quarantined |= read_json(home / "quarantine.json", {})
    sealed = merged(folder, [read_json(home / "checksums.json", {}) for home in lists])
    if part is None:
        return Dataset(folder, plan, None, sealed, quarantined, sealed, quarantined)
    home = part.home(folder)
    own = (read_json(home / name, {}) for name in ("checksums.json", "quarantine.json"))
    return Dataset(folder, plan, part, sealed, quarantined, *own)


def merged(folder: Path, lists: Iterable[dict[str, dict]]) -> dict[str, dict]:
    """One list of shards out of those of several parts. Where they disagree, the shard itself decides."""
    found: dict[str, list[dict]] = {}
    for entries in lists:
        for name, entry in entries.items():
            if entry not in found.setdefault(name, []):
                found[name].append(entry)
    return {name: e[0] if len(e) == 1 else _of_file(folder / name, e) for name, e in sorted(found.items())}


def _of_file(path: Path, entries: list[dict]) -> dict:
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        digest = None
    return next((entry for entry in entries if entry["sha256"] == digest), entries[-1])


def stamp_blender(folder: Path, blender: str, engine: dict, cpu: str) -> None:
    """Write into dataset.json which Blender draws it, how, and on what CPUs.

    Raises UserError if another Blender or engine drew part of it.
    """
    with records(folder):
        record = read_json(folder / "dataset.json", {})
        if record.get("blender") not in (None, blender):
            raise UserError(
                f"{folder} was begun with Blender {record['blender']}, this is {blender}: the same samples would "
                "differ. Use that one (--blender PATH) or another --out"
            )
        may_differ = {name: engine[name] for name in ("device_names", "threads") if name in engine}
        drawn = {**engine, **record.get("engine", {}), **may_differ}
        if changed := differences(drawn, engine):
            raise UserError(
                f"{folder} was begun with another engine: {'; '.join(changed)}: the same samples would differ. "
                "Use the same device or another --out"
            )
        cpus = sorted({*record.get("cpus", []), cpu})
        write_json(folder / "dataset.json", {**record, "blender": blender, "engine": engine, "cpus": cpus})
