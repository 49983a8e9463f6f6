"""The conversion: reads, checks and seals shard by shard, and goes on where it was stopped.

Memory holds one shard at a time and 8 bytes for every image of the source.
"""

import hashlib
import io
import json
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path

from assets.errors import UserError
from renderer import card, labels
from renderer.card import About
from renderer.files import flocked, read_json, write_atomically, write_json
from renderer.progress import duration
from renderer.render import check_writable
from renderer.run import stop_on_signals
from renderer.spec import __version__, differences
from renderer.threediebench import files
from renderer.threediebench.files import BadFileError, Item
from renderer.threediebench.labels import AUTHOR, CITATION, LICENCE, SOURCE, metadata
from renderer.threediebench.layout import Layout, Request, make_layout, object_ref

LEFT_OUT = "left_out.json"
MOST_SHOWN = 20
EVERY = 10.0  # seconds between two lines of progress

Decode = Callable[[bytes], tuple[int, int]]


def convert(request: Request, decode: Decode, say: Callable[[str], None]) -> tuple[dict, bool]:
    """Convert, or go on converting, 3DIEBench. Returns the report, and whether a signal stopped it before the end.

    decode: JPEG bytes -> (width, height) after decoding all of it; raises on a damaged image.

    Raises UserError (exit code 2) for options that make no sense, a source that is not in the published layout or
    whose images all fail, and an `out` that holds something else; (exit code 1) one that is full or in use.
    """
    _check(request)
    say(f"{request.source}: looking for objects")
    items, problems = files.find_items(request.source)
    layout, missing = make_layout(request, items)
    problems |= missing
    say(f"{request.source}: {len(layout.items)} objects, {int(layout.starts[-1])} images")
    try:
        return _convert(request, layout, problems, decode, say)
    except OSError as error:  # of the dataset's folder: what is wrong with the source's files is only noted
        kept = "what is converted is kept, free the way and run the same command"
        raise UserError(f"{error.filename or request.out}: {error.strerror}; {kept}") from error


def _convert(
    request: Request, layout: Layout, problems: dict[str, str], decode: Decode, say: Callable[[str], None]
) -> tuple[dict, bool]:
    request.out.mkdir(parents=True, exist_ok=True)
    check_writable(request.out)
    with _locked(request.out):
        run = Run(request, layout, decode, say)
        run.open()
        with stop_on_signals() as stopped:
            run.convert(lambda: bool(stopped))
        report = run.report(problems)
        if not report["still_to_render"]:
            say("writing the tables and the card")
            run.describe(problems)
        write_json(request.out / "report.json", report)
    return report, bool(stopped) and report["still_to_render"] > 0


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        with flocked(folder / ".lock"):
            yield
    except BlockingIOError:
        raise UserError(f"{folder}: another gr3d is writing there; wait for it or use another --out") from None


def _check(request: Request) -> None:
    if not request.source.is_dir():
        raise UserError(f"{request.source}: no such folder; name the one that holds the synsets", exit_code=2)
    if request.out.resolve().is_relative_to(request.source.resolve()):
        raise UserError(f"--out {request.out}: lies within the source; choose a folder outside of it", exit_code=2)
    if not 1 <= request.shard_size <= 100_000:
        raise UserError(f"--shard-size {request.shard_size}: must be from 1 to 100000", exit_code=2)
    if not 0 <= request.seed < 2**64:
        raise UserError(f"--seed {request.seed}: must be at least 0 and below 2**64", exit_code=2)


@dataclass
class Run:
    """One run of the conversion on a locked folder.

    Attributes:
        sealed: as in checksums.json.
        left_out: shard -> image -> reason, as in left_out.json.
    """

    request: Request
    layout: Layout
    decode: Decode
    say: Callable[[str], None]
    sealed: dict[str, dict] = field(default_factory=dict)
    left_out: dict[str, dict[str, str]] = field(default_factory=dict)
    side: int = 0
    converted: int = 0
    started: float = field(default_factory=time.monotonic)

    def open(self) -> None:
        """Begin the dataset, or go on with what is there.

        Raises UserError (exit code 2) if the folder holds something else.
        """
        folder = self.request.out
        for leftover in folder.glob(".*.tmp"):  # of a killed run
            leftover.unlink(missing_ok=True)
        record = read_json(folder / "dataset.json", {})
        self.side = self._first_side() if not record else int(record.get("spec", {}).get("resolution", 0))
        if not record:
            if foreign := sorted(path.name for path in folder.iterdir() if path.name != ".lock"):
                raise UserError(f"{folder} is not empty ({foreign[0]}) and holds no dataset; use another --out", 2)
            write_json(folder / "dataset.json", {"gr3d": __version__, "source": SOURCE, "spec": self.spec()})
        elif record.get("source") != SOURCE:
            raise UserError(f"{folder} holds a dataset that is no converted 3DIEBench; use another --out", 2)
        elif changed := differences(record.get("spec", {}), self.spec()):
            its = "; its ".join(changed)
            raise UserError(f"{folder} holds another dataset: its {its}. Use the same options or another --out", 2)
        self.sealed = read_json(folder / "checksums.json", {})
        self.left_out = read_json(folder / LEFT_OUT, {})

    def spec(self) -> dict:
        """The identity of the dataset, for dataset.json: what decides which sample stands where."""
        lines = (f"{item.id}\0{item.views}\0{item.id in self.layout.val}\n" for item in self.layout.items)
        return {
            "seed": self.request.seed,
            "resolution": self.side,
            "preset": SOURCE,
            "splits": self.layout.shares,  # of the views of the objects outside `val`
            "shard_size": self.request.shard_size,
            "format": "jpg",
            "catalog": {"id": SOURCE, "hash": hashlib.sha256("".join(lines).encode()).hexdigest()},
        }

    def _first_side(self) -> int:
        """The side of the first image that decodes: the others must have it too."""
        for item in self.layout.items:
            for view in range(item.views):
                try:
                    _, (width, height) = files.read_image(self._image(item, view), self.decode)
                except BadFileError:
                    continue
                if width == height:
                    return width
        raise UserError(f"{self.request.source}: no square image in it decodes", exit_code=2)

    def _image(self, item: Item, view: int) -> Path:
        return self.request.source / item.id / f"image_{view}.jpg"

    def convert(self, stopping: Callable[[], bool]) -> None:
        """Seal every shard that is not there yet, until the end or `stopping()`."""
        shards = self.layout.shards
        todo = [name for name in shards if not self._done(name)]
        total, read, shown = sum(len(shards[name]) for name in todo), 0, time.monotonic()
        with ThreadPoolExecutor() as readers:
            for name in todo:
                samples = []
                for sample in readers.map(self._read, shards[name].tolist(), repeat(name)):
                    samples.append(sample)
                    if time.monotonic() - shown > EVERY:
                        shown = time.monotonic()
                        self._progress(read + len(samples), total)
                    if stopping():
                        readers.shutdown(cancel_futures=True)
                        return
                read += len(samples)
                self._seal(name, samples)
        self._progress(read, total)

    def _progress(self, read: int, total: int) -> None:
        rate = read / max(time.monotonic() - self.started, 1e-9)
        left = duration((total - read) / rate) if rate else "unknown time"
        self.say(f"converted {read} of {total} images, {rate:.0f} images/s, {left} left")

    def _done(self, name: str) -> bool:
        """Whether a shard is there with all that the source has for it; images that failed are tried again."""
        entry, failed = self.sealed.get(name, {"samples": 0, "bytes": None}), self.left_out.get(name, {})
        path = self.request.out / name
        size = path.stat().st_size if path.exists() else None
        if size != entry["bytes"] or entry["samples"] + len(failed) != len(self.layout.shards[name]):
            return False
        return not failed or all(isinstance(self._read(i, name), Failed) for i in self._failed_indices(name, failed))

    def _failed_indices(self, name: str, failed: dict[str, str]) -> Iterator[int]:
        return (i for i in self.layout.shards[name].tolist() if self._name(i) in failed)

    def _name(self, index: int) -> str:
        item, view = self.layout.place(index)
        return f"{item.id}/image_{view}.jpg"

    def _read(self, index: int, shard: str) -> "Converted | Failed":
        item, view = self.layout.place(index)
        path = self._image(item, view)
        try:
            image, size = files.read_image(path, self.decode)
            if size != (self.side, self.side):
                raise BadFileError(f"{path.name} is {size[0]} x {size[1]}, not {self.side} x {self.side}")
            published = files.read_latents(path.with_name(f"latent_{view}.npy"))
        except BadFileError as error:
            return Failed(self._name(index), str(error))
        return Converted(index, image, metadata(index, item.id, view, shard.rpartition("-")[0], published))

    def _seal(self, name: str, samples: "list[Converted | Failed]") -> None:
        """Write the shard, then what was left out of it, then its checksum: each is whole or not there."""
        folder = self.request.out
        good = [sample for sample in samples if isinstance(sample, Converted)]
        failed = {sample.name: sample.reason for sample in samples if isinstance(sample, Failed)}
        if failed or name in self.left_out:
            self.left_out[name] = failed
            write_json(folder / LEFT_OUT, {shard: found for shard, found in sorted(self.left_out.items()) if found})
        if not good:
            return
        data = tar_bytes(good)
        write_atomically(folder / name, data)
        self.sealed[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "samples": len(good)}
        write_json(folder / "checksums.json", dict(sorted(self.sealed.items())))
        self.converted += len(good)

    def report(self, problems: dict[str, str]) -> dict:
        """What this run did and what the dataset holds now: the content of report.json."""
        seconds = time.monotonic() - self.started
        failed = {name: reason for found in self.left_out.values() for name, reason in found.items()}
        present = sum(entry["samples"] for entry in self.sealed.values())
        return {
            "gr3d": __version__,
            "source": SOURCE,
            "objects": len(self.layout.items),
            "converted_in_this_run": self.converted,
            "in_shards": present,
            "still_to_render": int(self.layout.starts[-1]) - present - len(failed),
            "left_out": failed,
            "problems": problems,
            "wall_seconds": round(seconds, 2),
            "images_per_second": round(self.converted / seconds, 2),
        }

    def describe(self, problems: dict[str, str]) -> None:
        """Write README.md, objects.csv, latents.csv and croissant.json."""
        folder, objects = self.request.out, [object_ref(item) for item in self.layout.items]
        labels.write(folder / labels.FILE, labels.rows_of_shards(folder, self.sealed))
        card.write_objects(folder, objects, problems)
        card.write_about(folder, self.about())

    def about(self) -> About:
        present = sum(entry["samples"] for entry in self.sealed.values())
        summary = f"""{present} images of {self.side} x {self.side} pixels of {len(self.layout.items)} objects:
3DIEBench, as its authors published it, put into WebDataset shards by gr3d {__version__}.

The images are the published files, byte for byte. Red and blue are swapped in them, so that what was drawn with hue h
shows (2/3 - h) mod 1: `floor_hue` and `spot_hue` are corrected accordingly. Each JSON file also has `published`, the
seven numbers as they were published (rotation about x, y and z; floor hue; spot theta, phi and hue), and `view`, the
number of the image. The camera stands on the +y side, 45 degrees up.

The objects of `val` appear in no other split; the others' views are shared by `train`, `probe` and `val_views`."""
        return About(
            name="3DIEBench",
            summary=summary,
            licence_note="3DIEBench may be used and changed for non-commercial purposes, with credit to its authors.",
            credits={(LICENCE, AUTHOR): len(self.layout.items)},
            citation=CITATION,
            resolution=self.side,
            format="jpg",
            sealed=self.sealed,
            quarantined={},
        )


def summary(folder: Path, report: dict) -> str:
    """The report in a few lines, with the first of what went wrong."""
    lines = [
        f"{folder}: {report['in_shards']} images of {report['objects']} objects in shards; "
        f"{report['converted_in_this_run']} converted now in {duration(report['wall_seconds'])} "
        f"({report['images_per_second']} images/s)"
    ]
    if report["still_to_render"]:
        lines.append(f"{report['still_to_render']} images still to convert")
    for what, found in (("images left out", report["left_out"]), ("objects with problems", report["problems"])):
        if found:
            lines.append(f"{len(found)} {what}:")
            lines += [f"  {name}: {reason}" for name, reason in sorted(found.items())[:MOST_SHOWN]]
            if len(found) > MOST_SHOWN:
                lines.append(f"  ... all of them in {folder / 'report.json'}")
    return "\n".join(lines)


@dataclass(frozen=True)
class Converted:
    """A sample as it goes into its shard."""

    index: int
    image: bytes
    labels: dict


@dataclass(frozen=True)
class Failed:
    """An image that is left out, and why."""

    name: str
    reason: str


def tar_bytes(samples: Iterable[Converted]) -> bytes:
    """A POSIX tar in WebDataset convention, `key.jpg` then `key.json` per sample; same input, same bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in samples:
            text = json.dumps(sample.labels, sort_keys=True).encode()
            for suffix, data in ((".jpg", sample.image), (".json", text)):
                info = tarfile.TarInfo(f"{sample.index:09d}{suffix}")  # mtime, uid and gid are 0, no names
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()
