"""A worker driven over its pipes as the supervisor does it, and small models to give it."""

import colorsys
import json
import math
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from assets.catalog import ObjectRef
from renderer.command import find_blender
from tests.needs import BPY5

RESOLUTION = 64

#: Nothing turned, a red spot straight above, a red floor.
REST = {
    "yaw": 0.0,
    "pitch": 0.0,
    "roll": 0.0,
    "floor_hue": 0.0,
    "spot_theta": 0.0,
    "spot_phi": 0.0,
    "spot_hue": 0.0,
}

CUBE_POINTS = [(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]  # as in a file: y up, front +z
CUBE_FACES = {  # outward normal in the renderer's axes (z up, front -y) -> corners, counter-clockwise from outside
    (1, 0, 0): (4, 6, 7, 5),
    (-1, 0, 0): (0, 1, 3, 2),
    (0, 0, 1): (2, 3, 7, 6),
    (0, 0, -1): (0, 4, 5, 1),
    (0, -1, 0): (1, 5, 7, 3),
    (0, 1, 0): (0, 2, 6, 4),
}
FACE_HUES = {normal: number / 6 for number, normal in enumerate(CUBE_FACES)}


def program(blender: str) -> str:
    """The --blender of a name: "bpy" (this Python's wheel), "blender" (on the PATH) or "bpy5" (Blender 5.0's)."""
    return {"bpy": sys.executable, "blender": "blender", "bpy5": BPY5}[blender]


class Worker:
    """A worker process in `blender` (see `program`). Use it in a with statement."""

    def __init__(self, blender: str, folder: Path, threads: int = 1, **config: str | int) -> None:
        self.spool, self.unfinished, scratch = folder / "spool", folder / "unfinished", folder / "scratch"
        for made in (self.spool, self.unfinished, scratch):
            made.mkdir(parents=True, exist_ok=True)
        defaults = {"resolution": RESOLUTION, "preset": "fast", "format": "png", "device": "cpu", "passes": []}
        folders = {"spool": str(self.spool), "unfinished": str(self.unfinished), "scratch": str(scratch)}
        settings = {**defaults, **config, **folders}
        (folder / "config.json").write_text(json.dumps(settings))
        self._start(blender, folder, threads)
        self.first = self.event()

    def _start(self, blender: str, folder: Path, threads: int) -> None:
        in_read, in_write = os.pipe()
        out_read, out_write = os.pipe()
        arguments = ["--fd-in", str(in_read), "--fd-out", str(out_write), "--config", str(folder / "config.json")]
        arguments += ["--threads", str(threads)]
        command = [*find_blender(program(blender)), *arguments]
        with open(folder / "log", "w") as log:
            self.process = subprocess.Popen(command, pass_fds=(in_read, out_write), stdout=log, stderr=log)
        os.close(in_read)
        os.close(out_write)
        self.jobs, self.events = os.fdopen(in_write, "w"), os.fdopen(out_read)

    def event(self) -> dict:
        line = self.events.readline()
        assert line, f"the worker died with status {self.process.wait()}"
        return json.loads(line)

    def visit(self, ref: ObjectRef, samples: dict[int, dict[str, float]]) -> list[dict]:
        """All events of one visit."""
        listed = [{"index": index, "latents": latents} for index, latents in samples.items()]
        self.jobs.write(json.dumps({"visit": 1, "object": asdict(ref), "samples": listed}) + "\n")
        self.jobs.flush()
        events = [self.event()]
        while events[-1]["event"] not in ("visit_done", "quarantine", "fatal"):
            events.append(self.event())
        return events

    def render(self, ref: ObjectRef, **latents: float) -> np.ndarray:
        """One image, (RESOLUTION, RESOLUTION, 3) in [0, 1], row 0 on top."""
        events = self.visit(ref, {0: {**REST, **latents}})
        assert events[-1]["event"] == "visit_done", events
        return read(self.spool / "000000000.png")

    def close(self) -> int:
        """Let the worker's input end; returns its exit status."""
        self.jobs.close()
        status = self.process.wait(timeout=60)
        self.events.close()
        return status

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"), np.float64) / 255


def model(path: Path) -> ObjectRef:
    """A file as an object of a folder."""
    return ObjectRef(id=path.stem, source="directory", category="test", path=str(path))


def write_obj(path: Path, points: list, faces: dict[str, list], colours: dict[str, tuple]) -> ObjectRef:
    """An .obj with one material per entry of `faces`: name -> corners (0-based); colours are display values."""
    lines = [f"mtllib {path.stem}.mtl", *(f"v {x} {y} {z}" for x, y, z in points)]
    for name, polygons in faces.items():
        lines += [f"usemtl {name}", *("f " + " ".join(str(corner + 1) for corner in polygon) for polygon in polygons)]
    path.write_text("\n".join(lines) + "\n")
    path.with_suffix(".mtl").write_text(
        "\n".join(f"newmtl {name}\nKd {' '.join(map(str, linear(rgb)))}" for name, rgb in colours.items()) + "\n"
    )
    return model(path)


def marked_cube(path: Path) -> ObjectRef:
    """A cube whose six faces have six hues, FACE_HUES."""
    names = {normal: f"face{number}" for number, normal in enumerate(CUBE_FACES)}
    colours = {names[normal]: colorsys.hsv_to_rgb(hue, 0.9, 0.9) for normal, hue in FACE_HUES.items()}
    return write_obj(path, CUBE_POINTS, {names[n]: [corners] for n, corners in CUBE_FACES.items()}, colours)


def white_box(path: Path, size: tuple[float, float, float] = (1, 1, 1)) -> ObjectRef:
    """A white box of half sides `size` in the file's axes (y up)."""
    points = [tuple(a * b for a, b in zip(point, size, strict=True)) for point in CUBE_POINTS]
    return write_obj(path, points, {"white": list(CUBE_FACES.values())}, {"white": (1, 1, 1)})


def grass(path: Path, blades: int = 1500, width: float = 0.02) -> ObjectRef:
    """Thin blades in black and white, all finer than a pixel: what few samples cannot show."""
    random = np.random.default_rng(0)
    foot = random.uniform(-1, 1, (blades, 3)) * (1, 0.1, 1)
    tip = foot + random.normal(0, (0.15, 0.4, 0.15), (blades, 3))
    points = np.stack([foot, foot + (width, 0, 0), tip], axis=1).reshape(-1, 3)
    faces = np.arange(3 * blades).reshape(-1, 3).tolist()
    halves = {"black": faces[::2], "white": faces[1::2]}
    return write_obj(path, points.tolist(), halves, {"black": (0, 0, 0), "white": (1, 1, 1)})


def linear(display: tuple[float, float, float]) -> list[float]:
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in display]


def hue(colour: np.ndarray) -> float:
    return colorsys.rgb_to_hsv(*colour)[0]


def hue_distance(one: float, other: float) -> float:
    return abs((one - other + 0.5) % 1 - 0.5)


def project(point: np.ndarray) -> tuple[float, float]:
    """Row and column at which the camera of 3DIEBench (radius 2.5, 45 degrees up, on the -y side) sees a point."""
    half = math.tan(0.691111 / 2)
    eye = 2.5 * np.array([0, -math.sqrt(0.5), math.sqrt(0.5)])
    right, up, forward = np.array([1, 0, 0]), np.array([0, 1, 1]) / math.sqrt(2), -eye / 2.5
    depth = (point - eye) @ forward
    x, y = (point - eye) @ right / depth / half, (point - eye) @ up / depth / half
    return (1 - y) / 2 * RESOLUTION - 0.5, (1 + x) / 2 * RESOLUTION - 0.5


def make(blender: str, folder: Path, what: str) -> Path:
    """Let that Blender itself write model files (making.py) into the folder, which is made, and returned."""
    folder.mkdir(parents=True, exist_ok=True)
    script = str(Path(__file__).parent / "making.py")
    command = [program(blender), "-b", "--factory-startup", "--python-exit-code", "1", "-P", script]
    if blender != "blender":
        command = [program(blender), script]
    done = subprocess.run([*command, "--", str(folder), what], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder
