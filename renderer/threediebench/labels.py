"""What 3DIEBench's numbers mean, who made it, and the labels of a sample that follow.

The generator (data/main.py) draws each hue as HSV, but hands the rendered image, in RGB order, to a function that
writes BGR. So red and blue are swapped in every image, and a floor or a light of hue h looks like (2/3 - h) mod 1.
The angles are those of Blender's XYZ Euler order: R = Rz Ry Rx, as ours, with their first about x (our roll).
"""

import json
from collections.abc import Sequence

from renderer.latents import LATENTS, quaternion

#: What dataset.json calls it.
SOURCE = "3diebench"
LICENCE = "CC-BY-NC-4.0"
AUTHOR = "Quentin Garrido, Laurent Najman, Yann LeCun (3DIEBench); 3D models of ShapeNetCore v2"
CITATION = """@inproceedings{garrido2023sie,
  title = {Self-Supervised Learning of Split Invariant Equivariant Representations},
  author = {Garrido, Quentin and Najman, Laurent and LeCun, Yann},
  booktitle = {International Conference on Machine Learning},
  year = {2023}
}"""

#: The vector in latent_{i}.npy, under our names of what its numbers are.
PUBLISHED = ("roll", "pitch", "yaw", "floor_hue", "spot_theta", "spot_phi", "spot_hue")
HUES = ("floor_hue", "spot_hue")

# The 55 categories of ShapeNetCore v2.
CATEGORIES = dict(
    entry.split(" ", 1)
    for entry in """02691156 airplane,02747177 trash bin,02773838 bag,02801938 basket,02808440 bathtub,02818832 bed,
02828884 bench,02843684 birdhouse,02871439 bookshelf,02876657 bottle,02880940 bowl,02924116 bus,02933112 cabinet,
02942699 camera,02946921 can,02954340 cap,02958343 car,02992529 cellphone,03001627 chair,03046257 clock,
03085013 keyboard,03207941 dishwasher,03211117 display,03261776 earphone,03325088 faucet,03337140 file cabinet,
03467517 guitar,03513137 helmet,03593526 jar,03624134 knife,03636649 lamp,03642806 laptop,03691459 loudspeaker,
03710193 mailbox,03759954 microphone,03761084 microwave,03790512 motorbike,03797390 mug,03928116 piano,
03938244 pillow,03948459 pistol,03991062 flowerpot,04004475 printer,04074963 remote control,04090263 rifle,
04099429 rocket,04225987 skateboard,04256520 sofa,04330267 stove,04379243 table,04401088 telephone,04460130 tower,
04468005 train,04530566 watercraft,04554684 washer""".replace("\n", "").split(",")
)


def category(object_id: str) -> str:
    """ "03001627/..." -> "chair"; the synset itself if it is none of ShapeNetCore's."""
    synset = object_id.partition("/")[0]
    return CATEGORIES.get(synset, synset)


def corrected(published: Sequence[float]) -> dict[str, float]:
    """Our latents of a published vector: by our names, and with the hues that its image shows."""
    values = dict(zip(PUBLISHED, published, strict=True))
    return {name: (2 / 3 - values[name]) % 1.0 if name in HUES else values[name] for name in LATENTS}


def metadata(index: int, object_id: str, view: int, split: str, published: list[float]) -> dict:
    """What the sample's .json file holds."""
    latents = corrected(published)
    return {
        "index": index,
        "object_id": object_id,
        "category": category(object_id),
        "family": category(object_id),
        "split": split,
        "latents": latents,
        "quaternion": list(quaternion(latents)),
        "published": published,
        "view": view,
    }


def labels_are_right(data: bytes, stem: str, shard: str) -> bool:
    """Whether a sample's .json says what follows from the published vector within it (for `gr3d verify`)."""
    try:
        found = json.loads(data)
        latents = corrected(found["published"])
        return (
            found["index"] == int(stem)
            and shard.startswith(found["split"] + "-")
            and bool(found["object_id"])
            and found["latents"] == latents
            and all(abs(a - b) < 1e-12 for a, b in zip(found["quaternion"], quaternion(latents), strict=True))
        )
    except (KeyError, ValueError, TypeError):
        return False
