"""The seven latents of a scene: names, ranges, sampling and the rotation they stand for (paper, Table 2)."""

import math

import numpy as np

HALF_PI = math.pi / 2

#: name -> (low, high). Angles are radians, hues are fractions of a turn. All are sampled uniformly (Table 2).
LATENTS: dict[str, tuple[float, float]] = {
    "yaw": (-HALF_PI, HALF_PI),
    "pitch": (-HALF_PI, HALF_PI),
    "roll": (-HALF_PI, HALF_PI),
    "floor_hue": (0.0, 1.0),
    "spot_theta": (0.0, math.pi / 4),
    "spot_phi": (0.0, 2 * math.pi),
    "spot_hue": (0.0, 1.0),
}

# Streams keep the draws for different purposes apart, so that adding one never moves another.
LATENT_STREAM, SLOT_STREAM, OBJECT_STREAM, ORDER_STREAM = range(4)


def draws(seed: int, stream: int, index: int, count: int) -> np.ndarray:
    """`count` 64-bit words that depend on (seed, stream, index) alone.

    Philox is counter-based, and NumPy guarantees the raw words of its bit generators for ever (unlike the
    distributions of `Generator`), so these words are the same on every machine and in every Blender.

    Args:
        seed: the dataset's seed, 0 <= seed < 2**64.
        stream: one of the `*_STREAM` constants.
        index: which sample, visit or block, 0 <= index < 2**64.

    Returns:
        uint64 array of shape (count,).
    """
    # The lowest counter word is left to Philox itself, which advances it as words are taken.
    counter = np.array([0, index, 0, 0], dtype=np.uint64)
    key = np.array([seed, stream], dtype=np.uint64)
    return np.random.Philox(counter=counter, key=key).random_raw(count)


def uniform(words: np.ndarray) -> np.ndarray:
    """Map uint64 words to doubles in [0, 1): the top 53 bits, the most that a double holds."""
    return (words >> np.uint64(11)) * 2.0**-53


def permutation(seed: int, stream: int, index: int, size: int) -> np.ndarray:
    """A permutation of range(size), shape (size,), that depends on (seed, stream, index) alone."""
    return np.argsort(draws(seed, stream, index, size), kind="stable")


def sample_latents(seed: int, index: int) -> dict[str, float]:
    """The latents of sample `index`: name -> value within `LATENTS` (high end excluded)."""
    units = uniform(draws(seed, LATENT_STREAM, index, len(LATENTS)))
    return {name: low + (high - low) * float(u) for (name, (low, high)), u in zip(LATENTS.items(), units, strict=True)}


def quaternion(latents: dict[str, float]) -> tuple[float, float, float, float]:
    """Unit quaternion [w, x, y, z] of R = Rz(yaw) Ry(pitch) Rx(roll).

    Each half angle lies in [-pi/4, pi/4], so both products in w are at least 2**-1.5 in size and
    w = cos cos cos + sin sin sin >= 2**-1.5 - 2**-1.5 = 0: the sign needs no fixing.
    """
    cy, cp, cr = (math.cos(latents[name] / 2) for name in ("yaw", "pitch", "roll"))
    sy, sp, sr = (math.sin(latents[name] / 2) for name in ("yaw", "pitch", "roll"))
    return (
        cy * cp * cr + sy * sp * sr,
        cy * cp * sr - sy * sp * cr,
        cy * sp * cr + sy * cp * sr,
        sy * cp * cr - cy * sp * sr,
    )


def rotation_matrix(latents: dict[str, float]) -> np.ndarray:
    """R = Rz(yaw) Ry(pitch) Rx(roll), shape (3, 3), right-handed, acting on column vectors."""
    (cy, cp, cr), (sy, sp, sr) = ([f(latents[name]) for name in ("yaw", "pitch", "roll")] for f in (math.cos, math.sin))
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    return about_z @ about_y @ about_x


def spot_position(latents: dict[str, float], radius: float) -> np.ndarray:
    """The spot's place on the sphere of `radius` around the object, shape (3,).

    spot_theta counts from +z, spot_phi from +x towards +y.
    """
    theta, phi = latents["spot_theta"], latents["spot_phi"]
    return radius * np.array([math.sin(theta) * math.cos(phi), math.sin(theta) * math.sin(phi), math.cos(theta)])
