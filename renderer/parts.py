"""A dataset drawn in parts, at the same time and on machines that share the folder.

    DIR/.lock                      held by a run of the whole dataset alone, shared by its parts
    DIR/.records.lock              held for the moment in which a part reads and writes what all have in common
    DIR/.parts/003-of-008/         what part 3 of 8 keeps for itself: lock, checksums.json, quarantine.json, report.json

Parts own whole shards, no shard has two owners, and a part lists what it sealed in its own folder. The spool is common:
a part that was killed leaves its images where any later run finds them, whatever parts that one is cut into. A run
without --part takes over the parts' lists and ends with the one list of an undivided run.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from assets.errors import UserError
from renderer.files import flocked, read_json, write_json

FOLDER = ".parts"


@dataclass(frozen=True)
class Part:
    """Part `number` of `count`; 1 <= number <= count."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def home(self, folder: Path) -> Path:
        """The part's own folder in the dataset `folder`."""
        return folder / FOLDER / f"{self.number:03d}-of-{self.count:03d}"


def parse_part(text: str) -> Part:
    """Read "K/P". Raises UserError (exit code 2) unless 1 <= K <= P <= 100000."""
    number, _, count = text.partition("/")
    if number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count) <= 100_000:
        return Part(int(number), int(count))
    raise UserError(f"--part {text}: give K/P with K from 1 to P, for example 3/8", exit_code=2)


def homes(folder: Path) -> list[Path]:
    """The folders of all parts that ever began and that no undivided run has taken over."""
    return sorted((folder / FOLDER).glob("*-of-*"))


def reports(folder: Path) -> dict[str, dict]:
    """What each part reported, by name ("003-of-008"): for the report of the run that joins them."""
    return {home.name: report for home in homes(folder) if (report := read_json(home / "report.json", {}))}


@contextmanager
def held(folder: Path, part: Part | None, n: int) -> Iterator[None]:
    """Hold the dataset in `folder`, or one part of its first `n` samples, for one run.

    Raises UserError if another run holds the same, or parts that may overlap with this one.
    """
    with ExitStack() as locks:
        try:
            locks.enter_context(flocked(folder / ".lock", shared=part is not None))
        except BlockingIOError:
            raise UserError(
                f"{folder}: another gr3d render is writing there; wait for it or use another --out"
            ) from None
        if part:
            home = part.home(folder)
            home.mkdir(parents=True, exist_ok=True)
            with records(folder):
                _refuse_overlap(folder, part, n)
                try:
                    locks.enter_context(flocked(home / "lock"))
                except BlockingIOError:
                    raise UserError(f"{folder}: part {part} is being rendered already; wait for it") from None
                write_json(home / "part.json", {"part": part.number, "of": part.count, "n": n})
        yield


@contextmanager
def records(folder: Path) -> Iterator[None]:
    """Keep other parts from what all have in common (dataset.json), for a moment."""
    with flocked(folder / ".records.lock", wait=True):
        yield


def _refuse_overlap(folder: Path, part: Part, n: int) -> None:
    """Raise UserError if a part of another division is being rendered: the two may own the same shard."""
    for home in homes(folder):
        other = read_json(home / "part.json", {})
        if not other or (other["of"], other["n"]) == (part.count, n):
            continue
        try:
            with flocked(home / "lock"):
                pass
        except BlockingIOError:
            raise UserError(
                f"{folder}: part {other['part']}/{other['of']} of --n {other['n']} is being rendered there, which may "
                f"overlap with part {part} of --n {n}; wait for it"
            ) from None
