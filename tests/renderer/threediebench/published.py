"""A small tree as 3DIEBench was published, drawn for real: images whose red and blue are swapped."""

from pathlib import Path

import numpy as np
from PIL import Image

from assets.catalog import load_catalog
from renderer.latents import sample_latents
from tests.needs import ROOT
from tests.renderer.blender.helpers import Worker, read

SIDE, VIEWS = 32, 6
OBJECTS = {
    "02958343/1a0b": "car-00000",
    "02958343/2c3d": "car-00001",
    "03001627/4e5f": "chair-00000",
    "03001627/6a7b": "chair-00001",
}


def latents_of(number: int, view: int) -> dict[str, float]:
    return sample_latents(7, VIEWS * number + view)


def publish(root: Path, scratch: Path) -> None:
    """Draw all views of OBJECTS and store them as the authors' generator does."""
    refs = {ref.id: ref for ref in load_catalog("procedural:chair,car", ROOT).objects}
    with Worker("bpy", scratch, resolution=SIDE) as worker:
        for number, (published, drawn) in enumerate(OBJECTS.items()):
            (root / published).mkdir(parents=True)
            events = worker.visit(refs[drawn], {view: latents_of(number, view) for view in range(VIEWS)})
            assert events[-1]["event"] == "visit_done", events
            for view in range(VIEWS):
                store(root / published, view, read(worker.spool / f"{view:09d}.png"), latents_of(number, view))


def store(folder: Path, view: int, pixels: np.ndarray, latents: dict[str, float]) -> None:
    """`pixels` (H, W, 3) in [0, 1], RGB. The file's are BGR, its angles about x, y and z, its hues those asked for."""
    swapped = (pixels[:, :, ::-1] * 255).round().astype(np.uint8)
    Image.fromarray(swapped).save(folder / f"image_{view}.jpg", quality=95)
    names = ("roll", "pitch", "yaw", "floor_hue", "spot_theta", "spot_phi", "spot_hue")
    np.save(folder / f"latent_{view}.npy", np.array([latents[name] for name in names]))
