"""The worker process: reads jobs from one pipe, renders them in this Blender, and reports on another.

Started by the supervisor as `PYTHON worker.py ARGS` (bpy wheel) or `blender -b --factory-startup -P worker.py -- ARGS`,
with ARGS = `--fd-in N --fd-out M --config FILE.json`. Both pipes carry one JSON object a line; Blender's errors go to
stderr. It ends when its input does, once the image that it is drawing is done. With ARGS = `--fd-out M --devices` it
only says what Cycles can draw on.
"""

import argparse
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

# A bare Blender knows nothing of this checkout, and Python puts this folder, whose names are general, in front.
sys.path[0:0] = [str(Path(__file__).resolve().parents[2])]

import bpy

from assets.catalog import ObjectRef, load_object
from assets.errors import BadObject, UserError
from renderer.blender import booth, engine, importers, passes, scene
from renderer.blender.memory import limited_memory
from renderer.images import without_metadata
from renderer.passes import ENDINGS, encode

#: Blender's collections of data that imports fill.
DATA = [name for name, prop in bpy.types.BlendData.bl_rna.properties.items() if prop.type == "COLLECTION"]


def main(arguments: list[str]) -> int:
    """Serve jobs until the input ends; returns the exit status."""
    parser = argparse.ArgumentParser(description="gr3d render worker (started by the supervisor)")
    parser.add_argument("--fd-in", type=int)
    parser.add_argument("--fd-out", type=int, required=True)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--devices", action="store_true")
    parser.add_argument("--device-number", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a scheduler sends it to all of a job; the supervisor decides
    # Blender prints a dozen lines per image: gigabytes in a long run. What matters goes to stderr or to the pipe.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if options.devices:
        with os.fdopen(options.fd_out, "w") as events:
            send(events, event="devices", found=engine.available_devices())
        return 0
    with os.fdopen(options.fd_in) as jobs, os.fdopen(options.fd_out, "w") as events:
        try:
            seat = {"number": options.device_number, "threads": options.threads}
            worker = Worker(json.loads(options.config.read_text()), seat, jobs, events)
        except (UserError, OSError, RuntimeError) as error:
            send(events, event="fatal", reason=str(error).strip())
            return 1
        try:
            for line in jobs:
                worker.visit(json.loads(line))
        except OSError as error:  # the disk's or the folder's fault, not the object's
            send(events, event="fatal", reason=str(error).strip())
            return 1
        except Exception as error:
            send(events, event="dying", reason=f"{type(error).__name__}: {error}".strip(": \n"))
            traceback.print_exc()
            return 1
    return 0


def resident_mb() -> float:
    """Resident memory of this process in MB (elsewhere than on Linux the largest it ever was)."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def send(events: TextIO, **event: Any) -> None:
    """Write one event."""
    events.write(json.dumps(event) + "\n")
    events.flush()


class Worker:
    """Blender with the stage set up, rendering one object after another."""

    def __init__(self, config: dict, seat: dict[str, int], jobs: TextIO, events: TextIO) -> None:
        self.events = events
        self._input = select.poll()
        self._input.register(jobs, 0)  # tells of its end alone
        self.spool, self.unfinished = Path(config["spool"]), Path(config["unfinished"])
        self.scratch = Path(config["scratch"])
        self.format = config["format"]
        bpy.context.preferences.filepaths.use_scripts_auto_execute = False
        bpy.context.preferences.edit.use_global_undo = False
        self.stage = scene.build_stage()
        self.booth = booth.build_booth()
        self.fine: dict[str, bool] = {}  # of the objects that have been looked at, by id: have they fine detail?
        self.settings = engine.configure(
            self.stage.scene,
            config["resolution"],
            config["preset"],
            config["format"],
            config["device"],
            engine=config.get("engine", "cycles"),
            **seat,
        )
        self.passes = config["passes"]
        self.pass_stage = passes.build_stage(self.stage) if self.passes else None
        build = bpy.app.build_hash.decode()
        send(events, event="ready", blender=bpy.app.version_string, build=build, engine=self.settings)

    def visit(self, job: dict) -> None:
        """Render all samples of one visit to an object, or report why the object is quarantined."""
        drawn = [stage.scene for stage in (self.stage, self.pass_stage) if stage]
        with purged(drawn), TemporaryDirectory(dir=self.scratch) as scratch:
            started = time.perf_counter()
            try:
                notes = self._show(ObjectRef(**job["object"]), Path(scratch))
            except BadObject as bad:
                send(
                    self.events,
                    event="quarantine",
                    visit=job["visit"],
                    object_id=job["object"]["id"],
                    reason=str(bad),
                )
                return
            seconds = time.perf_counter() - started
            send(self.events, event="loaded", visit=job["visit"], seconds=seconds, notes=notes)
            for sample in job["samples"]:
                if self._input.poll(0):  # the supervisor has stopped, or died
                    return
                started = time.perf_counter()
                self._render(sample["index"], sample["latents"])
                seconds = time.perf_counter() - started
                send(self.events, event="rendered", visit=job["visit"], index=sample["index"], seconds=seconds)
        send(self.events, event="visit_done", visit=job["visit"], rss_mb=resident_mb())

    def _show(self, ref: ObjectRef, scratch: Path) -> list[str]:
        try:
            with limited_memory():
                surface, materials, notes = importers.make_subject(load_object(ref, scratch))
                scene.put_on_stage(self.stage, surface, materials)
            if ref.id not in self.fine:
                self.fine[ref.id] = booth.look_at(self.booth, self.stage.subject, scratch)
            notes += engine.set_samples(self.stage.scene, self.settings, self.fine[ref.id])
            if self.pass_stage:
                passes.put_on_stage(self.pass_stage, self.stage)
        # This object's faults; a full disk is not.
        except (RuntimeError, MemoryError, FileNotFoundError, PermissionError) as error:
            raise BadObject(f"cannot be shown: {str(error).strip()}") from error
        return notes

    def _render(self, index: int, latents: dict[str, float]) -> None:
        """Render one sample to SPOOL/{index:09d}.{format}; the file appears there whole or not at all, passes first."""
        scene.pose(self.stage, latents)
        unfinished = self.unfinished / f"{index:09d}.{os.getpid()}.{self.format}"
        self.stage.scene.render.filepath = str(unfinished)
        try:
            bpy.ops.render.render(write_still=True)
            drawn = self._draw_passes()
        except RuntimeError as error:
            self._raise_if_disk_is_full()
            raise RuntimeError(f"cannot be rendered: {error}") from error
        unfinished.write_bytes(without_metadata(unfinished.read_bytes(), self.format))
        for ending, data in drawn.items():
            aside = unfinished.with_suffix(f".{ending}")
            aside.write_bytes(data)
            os.replace(aside, self.spool / f"{index:09d}.{ending}")
        os.replace(unfinished, self.spool / f"{index:09d}.{self.format}")

    def _draw_passes(self) -> dict[str, bytes]:
        """The files of the passes that are asked for, by their endings."""
        if self.pass_stage is None:
            return {}
        drawn = passes.draw(self.pass_stage, self.stage, self.scratch / f"passes.{os.getpid()}.exr")
        return {ENDINGS[name]: encode(name, drawn[name]) for name in self.passes}

    def _raise_if_disk_is_full(self) -> None:
        """Raise OSError if there is no room for an image, or for its passes as Blender writes them."""
        pixels = self.stage.scene.render.resolution_x**2
        for folder, size in ((self.unfinished, 1 << 16), (self.scratch, 64 * pixels if self.pass_stage else 0)):
            (folder / f"room.{os.getpid()}").write_bytes(bytes(size))


@contextmanager
def purged(scenes: list[bpy.types.Scene]) -> Iterator[None]:
    """Free everything that was added to Blender meanwhile, and what Cycles remembers of it in each of `scenes`."""
    before = {name: set(getattr(bpy.data, name)) for name in DATA}
    try:
        yield
    finally:
        added = [item for name in DATA for item in getattr(bpy.data, name) if item not in before[name]]
        bpy.data.batch_remove(added)
        # Cycles keeps its own scene from render to render, which is fast, but nothing of it may outlive the object:
        # memory would grow, and images would depend on what came before. Switching the option off frees it.
        for scene in scenes:
            scene.render.use_persistent_data = False
            scene.render.use_persistent_data = True


if __name__ == "__main__":
    own = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]
    status = main(own)
    # Blender's own shutdown is slow and, in the bpy wheel, not always clean; there is nothing left to save.
    os._exit(status)
