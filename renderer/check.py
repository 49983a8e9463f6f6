"""Can every object be rendered? Each is imported and drawn once by expendable workers, as a run would do it.

An object that Blender cannot use, crashes or hangs on is reported with the reason that a run would quarantine it for,
and the others are not touched by that.
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from assets.catalog import ObjectRef
from assets.errors import UserError
from renderer.devices import Seat
from renderer.health import Recycling
from renderer.plan import Sample, Visit
from renderer.pool import Counts, Limits, Pool
from renderer.progress import duration
from renderer.run import say, stop_on_signals

#: Side of a thumbnail in pixels.
THUMBNAIL = 96

#: How every object is shown: turned a little, so that three of its sides are seen.
POSE = {
    "yaw": 0.5,
    "pitch": 0.0,
    "roll": 0.0,
    "floor_hue": 0.6,
    "spot_theta": 0.6,
    "spot_phi": 4.2,
    "spot_hue": 0.12,
}


@dataclass(frozen=True)
class Verdict:
    """What came of one object."""

    object: ObjectRef
    reason: str  # why a run would quarantine it; "" when it can be used
    notes: tuple[str, ...]  # what was changed about it, as textures that could not be read
    thumbnail: Path | None  # PNG of THUMBNAIL x THUMBNAIL pixels; None without one


def check_objects(
    objects: Sequence[ObjectRef], command: list[str], seats: Sequence[Seat], folder: Path
) -> list[Verdict]:
    """A verdict for each object, in their order. Thumbnails are written to `folder`, which the caller removes.

    Args:
        command: from `renderer.command.find_blender`.
        seats: one for each worker.

    Says on stderr how far it is. Raises UserError (exit code 1) if Blender does not start, or a signal stops it.
    """
    check = _Check(objects, folder)
    spool = folder / "thumbnails"
    spool.mkdir()
    config = folder / "worker.json"
    settings = {"resolution": THUMBNAIL, "preset": "fast", "format": "png", "passes": [], "device": "cpu"}
    folders = {"spool": str(spool), "unfinished": str(folder), "scratch": str(folder)}
    config.write_text(json.dumps({**settings, **folders}))
    pool = Pool(
        plan=check,
        command=command,
        config=config,
        seats=seats[: len(objects)],
        logs=folder,
        limits=Limits(),
        start_advice="",
        recycling=Recycling(),
        on_ready=lambda message: say(f"Blender {message['blender']}, {len(seats)} workers"),
        on_rendered=check.rendered,
        on_quarantine=check.quarantine,
        on_tick=check.progress,
        counts=check.counts,
    )
    with stop_on_signals() as stopped:
        pool.run((Visit(ref, (number,)) for number, ref in enumerate(objects)), lambda: len(stopped))
    check.progress(last=True)
    if stopped:
        raise UserError(f"stopped after {check.done} of {len(objects)} objects; nothing was written")
    return [check.verdict(number, spool) for number in range(len(objects))]


@dataclass
class _Check:
    """The state of a check; to the pool also the plan, in which sample i shows object i."""

    objects: Sequence[ObjectRef]
    folder: Path
    counts: Counts = field(default_factory=Counts)
    reasons: dict[str, str] = field(default_factory=dict)
    drawn: set[int] = field(default_factory=set)
    started: float = field(default_factory=time.monotonic)
    _shown: float = 0.0

    @property
    def done(self) -> int:
        return len(self.reasons) + len(self.drawn)

    def sample(self, index: int) -> Sample:
        return Sample(index, split="check", shard="", object=self.objects[index], latents=POSE)

    def rendered(self, index: int) -> None:
        self.drawn.add(index)

    def quarantine(self, object_id: str, reason: str) -> None:
        self.reasons[object_id] = reason

    def verdict(self, number: int, spool: Path) -> Verdict:
        ref = self.objects[number]
        picture = spool / f"{number:09d}.png"
        notes = tuple(self.counts.notes.get(ref.id, ()))
        return Verdict(ref, self.reasons.get(ref.id, ""), notes, picture if number in self.drawn else None)

    def progress(self, last: bool = False) -> None:
        """One line, drawn over itself on a terminal once a second, repeated every half minute in a log."""
        now, tty = time.monotonic(), sys.stderr.isatty()
        if not last and now - self._shown < (1 if tty else 30):
            return
        self._shown = now
        rate = self.done / max(now - self.started, 1e-9)
        left = duration((len(self.objects) - self.done) / rate if rate else float("inf"))
        text = f"checked {self.done}/{len(self.objects)}, {rate:.1f} objects/s, {left} left"
        text += f", {len(self.reasons)} quarantined" if self.reasons else ""
        print(f"\r{text:<78}" if tty else text, end="\n" if last or not tty else "", file=sys.stderr, flush=True)
