"""Hand tools, standing on their handles or feet; the working end points towards -y."""

import numpy as np

from assets.geometry import Part
from assets.procedural.draws import DARK_STEEL, RUBBER, STEEL, Draws
from assets.procedural.shapes import (
    Mesh,
    box,
    cylinder,
    ellipsoid,
    extrude,
    hull,
    lathe,
    loft,
    part,
    spline,
    torus,
    tube,
)


def _handle(draws: Draws, length: float, thick: float, bow: float) -> Mesh:
    """An upright, slightly bowed handle with a thicker foot, from z = 0 up."""
    swell = draws.uniform(1.0, 1.25)
    path = spline([(0, 0, 0), (0, -bow, 0.3 * length), (0, 0.5 * bow, 0.7 * length), (0, 0, length)], 12)
    radii = spline([(swell * thick,), (thick,), (0.85 * thick,), (0.8 * thick,)], 12)[:, 0]
    return tube(path, radii, around=12, wide=0.9)


def hammer(draws: Draws) -> list[Part]:
    """Claw hammer, cross-peen hammer or lump hammer; the striking face is in front."""
    handle_colour, grip_colour, head_colour = draws.palette(3)
    length, thick = draws.uniform(0.7, 1.1), draws.uniform(0.045, 0.065)
    fat, reach = draws.uniform(0.09, 0.14), draws.uniform(0.24, 0.36)
    top = length - 0.02
    face = (
        lathe([(0, 0), (0.85 * fat, 0), (fat, 0.02), (fat, 0.09), (0.62 * fat, 0.14), (0.62 * fat, reach), (0, reach)])
        .along("y")
        .at(0, -reach, top)
    )
    parts = [part("handle", handle_colour, _handle(draws, length + 0.04, thick, draws.uniform(0, 0.012)))]
    grip_length = draws.uniform(0.25, 0.45) * length
    grip = lathe(
        [
            (0, -0.03),
            (1.45 * thick, -0.03),
            (1.6 * thick, 0.02),
            (1.3 * thick, 0.5 * grip_length),
            (1.5 * thick, grip_length),
            (0, grip_length),
        ],
        16,
    )
    parts.append(part("grip", grip_colour, grip.at(z=-0.01)))
    parts.append(part("face", STEEL if draws.chance() else head_colour, face))
    style = draws.choice(("claw", "claw", "peen", "lump"))
    parts.append(part("eye", head_colour, box(1.5 * fat, 1.7 * fat, 1.7 * fat, 0.02).at(0, 0, top)))
    if style == "claw":
        drop, far = draws.uniform(0.06, 0.16), draws.uniform(0.22, 0.34)
        path = spline([(0.3 * fat, 0, top), (0.35 * fat, 0.5 * far, top + 0.02), (0.75 * fat, far, top - drop)], 8)
        radii = np.linspace(0.42 * fat, 0.16 * fat, 8)
        parts.append(part("claw", head_colour, tube(path, radii), tube(path * (-1, 1, 1), radii)))
    elif style == "peen":
        far = draws.uniform(0.16, 0.26)
        peen = [(0, -0.75 * fat), (far, -0.12 * fat), (far, 0.12 * fat), (0, 0.75 * fat)]
        parts.append(part("peen", head_colour, extrude(peen, 1.35 * fat, axis="x", bevel=0.01).at(0, 0.03, top)))
    else:
        parts.append(part("lump", head_colour, box(1.9 * fat, 0.4 * reach, 1.9 * fat, 0.03).at(0, 0.24 * reach, top)))
    return parts


def axe(draws: Draws) -> list[Part]:
    """The blade is in front; some have a hammer or a spike behind."""
    handle_colour, head_colour, band_colour = draws.palette(3)
    length, thick = draws.uniform(0.8, 1.15), draws.uniform(0.055, 0.075)
    bow = draws.uniform(0.0, 0.06)
    reach, wide, beard = draws.uniform(0.34, 0.48), draws.uniform(0.14, 0.26), draws.uniform(0.0, 0.16)
    top = length - draws.uniform(0.08, 0.16)
    eye = draws.uniform(0.07, 0.1)
    edge = spline([(-reach, wide + 0.02), (-reach - 0.06, -0.3 * beard), (-reach, -wide - beard)], 9)
    upper, lower = (
        [(0.07, eye), (-0.06, eye), (-0.6 * reach, 0.5 * (eye + wide))],
        [(-0.6 * reach, -0.5 * (eye + wide) - 0.2 * beard), (-0.06, -eye), (0.07, -eye)],
    )
    outline = np.array([*upper, *edge, *lower])
    thickness = 0.1 * np.clip(1 - (-outline[:, 0]) / (1.1 * reach), 0.08, 1)  # a wedge: thin at the edge
    rings = np.array([np.column_stack([sign * thickness, outline]) for sign in (-1, 1)])
    parts = [
        part("handle", handle_colour, _handle(draws, length, thick, bow)),
        part("head", head_colour, loft(rings).at(z=top)),
        part("edge", STEEL, tube(np.column_stack([np.zeros(9), edge[:, 0] - 0.01, edge[:, 1] + top]), 0.016)),
    ]
    style = draws.choice(("plain", "hammer", "spike"))
    if style == "hammer":
        parts.append(part("poll", DARK_STEEL, box(0.17, 0.16, 1.4 * eye, 0.02).at(0, 0.11, top)))
    elif style == "spike":
        parts.append(
            part(
                "spike",
                DARK_STEEL,
                tube([(0, 0.04, top), (0, 0.16, top - 0.01), (0, 0.3, top - 0.06)], [0.07, 0.045, 0.012]),
            )
        )
    low, tall = draws.uniform(0.02, 0.3) * length, draws.uniform(0.1, 0.25) * length
    wrap = lathe([(0, 0), (1.5 * thick, 0), (1.5 * thick, tall), (0, tall)], 16).scaled(1.05, 1.2, 1)
    parts.append(part("wrap", band_colour, wrap.at(y=-0.8 * bow, z=low)))
    return parts


def drill(draws: Draws) -> list[Part]:
    """A cordless drill with its battery foot; the bit points forwards."""
    body_colour, grip_colour, accent = draws.palette(3)
    fat, length = draws.uniform(0.13, 0.18), draws.uniform(0.5, 0.72)
    tall, lean = draws.uniform(0.45, 0.62), draws.uniform(0.02, 0.14)
    body = hull(
        [
            (-0.4 * length, 0.75 * fat, -0.75 * fat, 0.75 * fat),
            (-0.1 * length, fat, -fat, fat),
            (0.3 * length, fat, -fat, fat),
            (0.55 * length, 0.72 * fat, -0.7 * fat, 0.75 * fat),
        ],
        2.8,
    )
    chuck = (
        lathe([(0, 0), (0.3 * fat, 0), (0.62 * fat, 0.1), (0.72 * fat, 0.14), (0.72 * fat, 0.24), (0, 0.24)], 16)
        .along("y")
        .at(0, -0.4 * length - 0.22, 0)
    )
    bit = draws.uniform(0.22, 0.5)
    drill_bit = (
        lathe([(0, -bit), (0.016, -bit + 0.05), (0.022, -bit + 0.06), (0.022, 0.05), (0, 0.05)], 10)
        .along("y")
        .at(0, -0.4 * length - 0.22, 0)
    )
    at = draws.uniform(0.05, 0.25) * length
    grip = tube(
        spline([(0, at, -0.5 * fat), (0, at + 0.5 * lean, -0.5 * tall), (0, at + lean, -tall)], 8),
        [0.1, 0.085, 0.075, 0.07, 0.075, 0.08, 0.085, 0.09],
        around=14,
        wide=0.8,
    )
    battery = box(draws.uniform(0.2, 0.28), draws.uniform(0.32, 0.44), draws.uniform(0.12, 0.2), 0.03)
    side = draws.choice((-1, 1))
    parts = [
        part("body", body_colour, body),
        part("grip", grip_colour, grip),
        part("battery", accent, battery.at(0, at + lean - 0.05, -tall - 0.06)),
        part("chuck", DARK_STEEL, chuck),
        part("bit", STEEL, drill_bit),
        part("trigger", accent, box(0.07, 0.1, 0.13, 0.02).at(0, at - 0.09, -1.35 * fat)),
        part("switch", accent, box(0.05, 0.16, 0.09).at(side * 0.95 * fat, 0.05, 0.2 * fat)),
        part("collar", grip_colour, torus(0.8 * fat, 0.03).along("y").at(0, -0.36 * length, 0)),
    ]
    if draws.chance(0.4):
        parts.append(
            part(
                "side handle",
                RUBBER,
                tube(
                    [(side * 0.5 * fat, -0.28 * length, 0), (side * (fat + 0.26), -0.28 * length, 0.04)], [0.035, 0.05]
                ),
            )
        )
    return parts


def watering_can(draws: Draws) -> list[Part]:
    """The spout points forwards, the handle is behind; a second handle bows over the top."""
    paint, handle_colour, rose_colour = draws.palette(3)
    wide, tall = draws.uniform(0.3, 0.42), draws.uniform(0.42, 0.75)
    shrink = draws.uniform(0.68, 1.02)
    upper, thin = shrink * wide, 0.02
    can = lathe([(0, 0), (wide, 0), (upper, tall), (upper - thin, tall), (wide - thin, 0.1), (0, 0.1)], 24)
    reach, lift = draws.uniform(0.42, 0.75), draws.uniform(0.85, 1.15) * tall
    start = 0.25 * tall
    path = spline(
        [(0, -0.85 * wide, start), (0, -wide - 0.35 * reach, start + 0.3 * (lift - start)), (0, -wide - reach, lift)],
        10,
    )
    spout = tube(path, np.linspace(0.075, 0.038, 10), around=12)
    end = path[-1] - path[-2]
    pitch = float(np.degrees(np.arctan2(end[2], -end[1])))
    flare = draws.uniform(0.09, 0.15)
    rose = lathe([(0, 0), (0.04, 0), (flare, 0.13), (flare, 0.16), (0, 0.17)], 18).turned("x", 90 - pitch).at(*path[-1])
    bulge = draws.uniform(0.2, 0.32)
    back = tube(
        spline(
            [
                (0, 0.9 * upper, 0.92 * tall),
                (0, upper + 0.8 * bulge, 0.95 * tall),
                (0, wide + bulge, 0.6 * tall),
                (0, 0.95 * wide, 0.2 * tall),
            ],
            14,
        ),
        0.032,
    )
    parts = [
        part("can", paint, can),
        part("spout", paint, spout),
        part("rose", rose_colour, rose),
        part("handle", handle_colour, back),
        part("band", rose_colour, torus(wide + (upper - wide) * 0.3, 0.022).at(z=0.3 * tall)),
    ]
    if draws.chance(0.6):
        arch = draws.uniform(0.16, 0.3)
        bow = spline(
            [
                (0, -0.9 * upper, tall - 0.06),
                (0, -0.7 * upper, tall + 0.8 * arch),
                (0, 0.0, tall + arch),
                (0, 0.9 * upper, tall - 0.04),
            ],
            14,
        )
        parts.append(part("bow", handle_colour, tube(bow, 0.03)))
    if draws.chance():
        cover = ellipsoid(0.98 * upper, 0.98 * upper, 0.05).at(0, -0.12 * upper, tall)
        parts.append(part("cover", DARK_STEEL, cover.scaled(1, 0.75, 1)))
    parts.append(
        part(
            "water",
            (0.30, 0.52, 0.66),
            cylinder(upper - 0.06, 0.08).at(z=0.72 * tall)
            if shrink > 0.9
            else cylinder(0.8 * upper, 0.08).at(z=0.72 * tall),
        )
    )
    return parts
