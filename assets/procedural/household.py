"""Things of the house. The front is the side one looks at; handles of cups and pots are at the side."""

import numpy as np

from assets.geometry import Part
from assets.procedural.draws import CREAM, DARK_STEEL, GLASS, STEEL, Draws
from assets.procedural.shapes import (
    both_sides,
    box,
    closed_spline,
    cylinder,
    ellipsoid,
    extrude,
    lathe,
    loft,
    part,
    rounded_rectangle,
    spline,
    torus,
    tube,
)


def mug(draws: Draws) -> list[Part]:
    """The handle is at the right, a badge is in front."""
    paint, inside_colour, badge_colour, drink = draws.palette(4)
    wide, tall = draws.uniform(0.32, 0.46), draws.uniform(0.7, 1.15)
    flare, belly, thin = draws.uniform(0.82, 1.2), draws.uniform(-0.04, 0.08), 0.045
    shape = spline([(wide * flare**-0.5, 0.03), (wide + belly, 0.45 * tall), (wide * flare**0.5, tall)], 7)
    rim = shape[-1, 0] - thin
    wall = lathe(
        [(0, 0), (0.9 * shape[0, 0], 0), *shape, (rim, tall), *(shape[-2:1:-1] - (thin, 0)), (0, 0.3 * tall)], 28
    )
    level = draws.uniform(0.7, 0.88)
    surface = np.interp(level * tall, shape[:, 1], shape[:, 0]) - 0.4 * thin
    bulge, low, high = draws.uniform(0.22, 0.36), draws.uniform(0.18, 0.3), draws.uniform(0.68, 0.85)
    radius = np.interp([low * tall, high * tall], shape[:, 1], shape[:, 0]) - 0.5 * thin
    square = draws.chance(0.4)
    outer = max(radius) + bulge
    knots = [
        (radius[1], 0, high * tall),
        (outer - 0.02, 0, high * tall + 0.01),
        (outer, 0, low * tall),
        (radius[0], 0, low * tall),
    ]
    if not square:
        knots = [
            (radius[1], 0, high * tall),
            (outer - 0.06, 0, high * tall + 0.02),
            (outer, 0, 0.55 * tall),
            (outer - 0.1, 0, low * tall + 0.03),
            (radius[0], 0, low * tall),
        ]
    handle = tube(spline(knots, 16), draws.uniform(0.045, 0.07), around=10)
    middle = draws.uniform(0.42, 0.6) * tall
    at = float(np.interp(middle, shape[:, 1], shape[:, 0]))
    parts = [
        part("wall", paint, wall),
        part("drink", drink, cylinder(surface, 0.06, segments=28).at(z=level * tall)),
        part("handle", inside_colour if draws.chance() else paint, handle),
    ]
    style = draws.choice(("disc", "square", "stripe"))
    if style == "disc":
        badge = ellipsoid(0.17, 0.06, 0.17).at(0, -at + 0.015, middle)
    elif style == "square":
        badge = loft(
            np.array([np.column_stack([at_x, np.full(4, y), at_z]) for y, at_x, at_z in _badge_rings(0.16, at, middle)])
        )
    else:
        angles = np.radians(np.linspace(205, 335, 20))
        badge = tube(np.column_stack([at * np.cos(angles), at * np.sin(angles), np.full(20, middle)]), 0.045)
    parts.append(part("badge", badge_colour, badge))
    base = torus(0.86 * shape[0, 0], 0.03, 28).at(z=0.01)
    parts.append(part("foot", inside_colour, base))
    return parts


def _badge_rings(size: float, at: float, middle: float) -> list[tuple[float, np.ndarray, np.ndarray]]:
    corners_x, corners_z = np.array([-1, 1, 1, -1]) * size, np.array([-1, -1, 1, 1]) * size
    return [(-at - 0.025, corners_x, corners_z + middle), (-at + 0.15, corners_x, corners_z + middle)]


def teapot(draws: Draws) -> list[Part]:
    """The spout is at the left, the handle at the right, a flower in front."""
    paint, lid_colour, trim = draws.palette(3)
    wide, tall = draws.uniform(0.42, 0.58), draws.uniform(0.5, 0.85)
    foot, mouth, belly = draws.uniform(0.5, 0.75), draws.uniform(0.4, 0.6), draws.uniform(0.35, 0.6)
    body = spline([(foot * wide, 0.03), (wide, belly * tall), (mouth * wide, tall)], 11)
    pot = lathe([(0, 0), (foot * wide - 0.04, 0), *body, (0, tall + 0.02)], 28)
    knob = draws.uniform(0.05, 0.09)
    dome = draws.uniform(0.06, 0.22)
    lid = lathe(
        [
            (0, -0.04),
            (mouth * wide + 0.02, -0.02),
            (mouth * wide + 0.02, 0.03),
            *spline([(mouth * wide, 0.04), (0.6 * mouth * wide, 0.8 * dome + 0.02), (0.03, dome + 0.05)], 5),
            (0, dome + 0.06),
        ],
        28,
    )
    reach, lift = draws.uniform(0.3, 0.48), draws.uniform(0.75, 1.05) * tall
    low = draws.uniform(0.22, 0.4) * tall
    spout_path = spline(
        [
            (-0.8 * wide, 0, low),
            (-wide - 0.4 * reach, 0, low + 0.12),
            (-wide - 0.6 * reach, 0, 0.8 * lift),
            (-wide - reach, 0, lift),
        ],
        12,
    )
    spout = tube(spout_path, np.linspace(0.15, 0.06, 12), around=12)
    if draws.chance(0.3):  # a basket handle over the top
        arch = draws.uniform(0.35, 0.5)
        loop = [
            (-0.7 * wide, 0, 0.8 * tall),
            (-0.6 * wide, 0, tall + 0.7 * arch),
            (0, 0, tall + arch),
            (0.6 * wide, 0, tall + 0.7 * arch),
            (0.7 * wide, 0, 0.8 * tall),
        ]
    else:
        bulge = draws.uniform(0.3, 0.42)
        loop = [
            (0.7 * wide, 0, 0.82 * tall),
            (wide + 0.85 * bulge, 0, 0.9 * tall),
            (wide + bulge, 0, 0.5 * tall),
            (0.85 * wide, 0, 0.22 * tall),
        ]
    centre, petals = 0.42 * tall, draws.integer(4, 6)
    out = float(np.interp(centre, body[:, 1], body[:, 0]))
    flower = []
    for step in range(petals):
        angle = 2 * np.pi * step / petals
        flower.append(
            ellipsoid(0.075, 0.12, 0.075, 10).at(0.105 * np.cos(angle), -out + 0.04, centre + 0.105 * np.sin(angle))
        )
    return [
        part("pot", paint, pot),
        part("lid", lid_colour, lid.at(z=tall), ellipsoid(knob, knob, 0.9 * knob).at(z=tall + dome + 0.07)),
        part("spout", paint if draws.chance() else lid_colour, spout),
        part(
            "handle",
            trim if draws.chance() else lid_colour,
            tube(spline(loop, 18), draws.uniform(0.045, 0.065), around=10),
        ),
        part("flower", trim, *flower),
        part("stamen", CREAM, ellipsoid(0.05, 0.1, 0.05, 10).at(0, -out + 0.02, centre)),
        part("foot", lid_colour, torus(foot * wide - 0.02, 0.03, 28).at(z=0.015)),
    ]


def guitar(draws: Draws) -> list[Part]:
    """Upright, strings in front; electric ones have horns and knobs."""
    top_colour, side_colour, neck_colour, trim = draws.palette(4)
    electric = draws.chance()
    length, wide, deep = (
        draws.uniform(0.95, 1.2),
        draws.uniform(0.42, 0.5),
        draws.uniform(0.2, 0.27) if electric else draws.uniform(0.3, 0.4),
    )
    waist, upper = draws.uniform(0.5, 0.72) * wide, draws.uniform(0.68, 0.85) * wide
    right = [(0.0, 0.0), (0.75 * wide, 0.06), (wide, 0.28 * length), (waist, 0.56 * length)]
    left = [(-waist, 0.56 * length), (-wide, 0.28 * length), (-0.75 * wide, 0.06)]
    if electric:
        horn = draws.uniform(0.98, 1.12) * length
        knots = [*right, (0.95 * upper, 0.78 * length), (0.86 * upper, 0.92 * length), (0.17, 0.76 * length)]
        knots += [(-0.14, 0.78 * length), (-0.74 * upper, horn), (-upper, 0.9 * length), *left]
    else:
        cut = draws.chance(0.4)
        shoulder = (0.5 * upper, 0.86 * length) if cut else (0.6 * upper, 0.97 * length)
        knots = [*right, (upper, 0.8 * length), shoulder, (0.0, 0.98 * length)]
        knots += [(-0.6 * upper, 0.97 * length), (-upper, 0.8 * length), *left]
    outline = closed_spline(knots, 44)
    neck_top, half = length + draws.uniform(0.5, 0.8), 0.06
    neck_foot = 0.62 * length
    front = -deep / 2
    parts = [
        part("body", side_colour, extrude(outline, deep, axis="y", bevel=0.008)),
        part("top", top_colour, extrude(outline * 0.95 + (0, 0.025 * length), 0.05, axis="y", bevel=0.012).at(y=front)),
        part(
            "neck",
            neck_colour,
            box(2 * half, 0.07, neck_top - neck_foot, 0.015).at(0, front - 0.03, (neck_top + neck_foot) / 2),
        ),
        part(
            "frets",
            STEEL,
            *(
                box(2 * half + 0.004, 0.02, 0.012, 0.003).at(
                    0, front - 0.067, neck_top - 0.09 - (neck_top - length) * (1 - 0.9**step)
                )
                for step in range(1, 9)
            ),
        ),
    ]
    lean = draws.uniform(-0.06, 0.06)
    head = [(-0.06, 0), (0.06, 0), (0.1, 0.1), (0.09 + lean, 0.3), (-0.04 + lean, 0.34), (-0.1, 0.1)]
    parts.append(
        part(
            "head",
            side_colour if draws.chance() else trim,
            extrude(head, 0.06, axis="y", bevel=0.01).at(0, front - 0.01, neck_top - 0.01),
        )
    )
    pegs = [
        cylinder(0.026, 0.1, segments=10).along("x").at(side * 0.12, front - 0.01, neck_top + 0.1 + 0.07 * step)
        for side in ((-1, 1) if not electric else (-1,))
        for step in range(3)
    ]
    parts.append(part("pegs", STEEL, *pegs))
    bridge = 0.26 * length
    parts.append(part("bridge", neck_colour, box(0.3, 0.06, 0.06).at(0, front - 0.02, bridge)))
    if electric:
        pickups = [box(0.26, 0.05, 0.06).at(0, front - 0.03, bridge + step) for step in (0.13, 0.27)]
        parts.append(part("pickups", DARK_STEEL, *pickups))
        parts.append(
            part(
                "knobs",
                trim,
                *(
                    cylinder(0.032, 0.06, segments=12)
                    .along("y")
                    .at(0.5 * wide + 0.05 * step, front - 0.03, 0.2 * length - 0.09 * step)
                    for step in range(draws.integer(2, 3))
                ),
            )
        )
        guard = closed_spline(
            [
                (0.08, 0.3 * length),
                (0.6 * wide, 0.32 * length),
                (0.66 * waist, 0.55 * length),
                (0.6 * upper, 0.74 * length),
                (0.1, 0.68 * length),
            ],
            20,
        )
        parts.append(part("guard", trim, extrude(guard, 0.02, axis="y", bevel=0.004).at(y=front - 0.022)))
    else:
        radius = draws.uniform(0.13, 0.17)
        parts.append(
            part("hole", DARK_STEEL, cylinder(radius, 0.03, segments=24).along("y").at(0, front - 0.012, 0.56 * length))
        )
        parts.append(part("rosette", trim, torus(radius + 0.01, 0.022).along("y").at(0, front - 0.02, 0.56 * length)))
        guard = closed_spline(
            [(0.14, 0.42 * length), (0.3, 0.36 * length), (0.32, 0.5 * length), (0.2, 0.54 * length)], 16
        )
        parts.append(part("guard", trim, extrude(guard, 0.016, axis="y", bevel=0.004).at(y=front - 0.022)))
    return parts


def camera(draws: Draws) -> list[Part]:
    """The lens is in front, the release at the right hand, the viewfinder on top."""
    leather, metal, accent = draws.palette(3)
    width, height, deep = draws.uniform(0.9, 1.25), draws.uniform(0.5, 0.75), draws.uniform(0.28, 0.42)
    band = draws.uniform(0.2, 0.32) * height
    body = extrude(rounded_rectangle(width, deep, 0.35 * deep), height, bevel=0.03)
    cap = extrude(rounded_rectangle(width + 0.03, deep + 0.03, 0.36 * deep), band, bevel=0.03).at(
        z=(height - band) / 2 + 0.02
    )
    lens_at = draws.uniform(-0.12, 0.08) * width
    radius, reach = draws.uniform(0.3, 0.42) * height, draws.uniform(0.16, 0.6)
    steps = [
        (0, 0),
        (1.1 * radius, 0),
        (1.1 * radius, 0.3 * reach),
        (radius, 0.34 * reach),
        (0.94 * radius, 0.8 * reach),
        (radius, reach),
        (0.8 * radius, reach),
        (0.7 * radius, 0.85 * reach),
        (0, 0.85 * reach),
    ]
    place = (lens_at, -deep / 2 + 0.02, -0.08 * height)
    barrel = lathe(steps, 24).turned("x", 90).at(*place)
    ring = torus(1.03 * radius, 0.028, 28).along("y").at(place[0], place[1] - 0.62 * reach, place[2])
    eye = ellipsoid(0.72 * radius, 0.09, 0.72 * radius).at(place[0], place[1] - 0.85 * reach, place[2])
    top = height / 2 + 0.02
    parts = [
        part("body", leather, body),
        part("cap", metal, cap),
        part("barrel", DARK_STEEL, barrel),
        part("ring", accent, ring),
        part("lens", GLASS, eye),
        part("release", accent, cylinder(0.05, 0.12, segments=14).at(-0.36 * width, 0, top)),
        part("dial", STEEL, cylinder(0.1, 0.13, segments=16).at(0.34 * width, 0.02, top)),
    ]
    style = draws.choice(("prism", "finder", "flash"))
    if style == "prism":
        roof = [(-0.2, -0.05), (0.2, -0.05), (0.15, 0.13), (0.07, 0.2), (-0.07, 0.2), (-0.15, 0.13)]
        parts.append(part("prism", metal, extrude(roof, 0.9 * deep, axis="y", bevel=0.03).at(lens_at, -0.03, top)))
    elif style == "finder":
        parts.append(
            part(
                "finder", GLASS, box(0.2, 0.08, 0.11).at(0.3 * width, -deep / 2 - 0.01, height / 2 - 0.5 * band + 0.02)
            )
        )
        parts.append(part("shoe", DARK_STEEL, box(0.16, 0.2, 0.06).at(lens_at, 0, top + 0.014)))
    else:
        parts.append(part("flash", leather, box(0.34, 0.2, 0.3, 0.03).at(0.05, 0, top + 0.16)))
        parts.append(part("lamp", CREAM, box(0.28, 0.06, 0.2).at(0.05, -0.1, top + 0.18)))
    if draws.chance(0.6):
        grip = extrude(rounded_rectangle(0.2, 0.2, 0.07), 0.9 * height, bevel=0.03).at(
            -width / 2 + 0.13, -deep / 2 - 0.02, -0.03
        )
        parts.append(part("grip", DARK_STEEL, grip))
    return parts


def shoe(draws: Draws) -> list[Part]:
    """A single left or right shoe, toe in front: trainer or boot."""
    upper_colour, sole_colour, lace_colour, patch_colour = draws.palette(4)
    length, wide = draws.uniform(1.1, 1.35), draws.uniform(0.19, 0.24)
    boot = draws.chance(0.4)
    ankle = draws.uniform(0.65, 0.95) if boot else draws.uniform(0.38, 0.48)
    toe, thick = draws.uniform(0.16, 0.24), draws.uniform(0.07, 0.13)
    bend = draws.choice((-1, 1)) * draws.uniform(0.05, 0.09)
    y = np.array([-0.5, -0.44, -0.3, -0.1, 0.1, 0.3, 0.44, 0.5]) * length
    half = np.array([0.4, 0.75, 1.0, 0.95, 0.75, 0.78, 0.72, 0.45]) * wide
    top = np.array([0.55 * toe, 0.9 * toe, toe, 0.30, 0.36, 0.4, 0.4, 0.34]) + thick
    inward = bend * np.cos(np.pi * y / length) - bend
    # rows of sections across the shoe, from toe to heel: flat below, round above
    angles = np.radians(np.linspace(-25, 205, 15))
    table = spline(np.column_stack([y, half, top, inward]), 20)
    rings = [
        np.column_stack(
            [
                w * np.cos(angles) * (1 - 0.18 * np.clip(np.sin(angles), 0, 1)) + m,
                np.full(15, at),
                thick + (t - thick) * np.clip(np.sin(angles), -0.1, 1),
            ]
        )
        for at, w, t, m in table
    ]
    blunt = [ring.mean(axis=0) * 0.3 + ring * 0.7 for ring in (rings[0], rings[-1])]
    upper = loft(np.array([blunt[0], *rings, blunt[1]]), smooth=True)
    edge = np.concatenate(
        [table[:, [3, 0]] + table[:, [1]] * (1.12, 0), (table[:, [3, 0]] - table[:, [1]] * (1.12, 0))[::-1]]
    )
    edge[[0, -1], 1] -= 0.03
    edge[[19, 20], 1] += 0.03
    sole = extrude(edge, thick, bevel=0.02).at(z=thick / 2)
    shaft_at = 0.27 * length
    radius = draws.uniform(1.0, 1.12) * wide
    lean = draws.uniform(0, 0.08)
    shaft = tube(
        [
            (-bend * 0.4, shaft_at - 0.03, thick + 0.18),
            (-bend * 0.3, shaft_at, thick + 0.5 * ankle),
            (0, shaft_at + lean, thick + ankle),
        ],
        [1.15 * radius, 0.95 * radius, 1.1 * radius],
        around=18,
        wide=0.8,
    )
    hole = ellipsoid(0.6 * radius, 0.74 * radius, 0.03).at(0, shaft_at + lean, thick + ankle + 0.545 * radius)
    laces = []
    for step in range(4):
        share = step / 3
        row = spline(np.column_stack([y, half, top, inward]), 41)[13 + 4 * step]
        laces.append(
            tube(
                [
                    (row[3] - 0.55 * row[1], row[0], row[2] - 0.05),
                    (row[3], row[0] - 0.01, row[2] + 0.005),
                    (row[3] + 0.55 * row[1], row[0], row[2] - 0.05),
                ],
                0.022 - 0.004 * share,
            )
        )
    side = float(np.sign(bend))
    patch = ellipsoid(0.05, 0.17, 0.09).at(inward[4] + side * 0.66 * wide, 0.08 * length, thick + 0.17)
    return [
        part("upper", upper_colour, upper),
        part("shaft", upper_colour, shaft),
        part("sole", sole_colour, sole),
        part("lining", DARK_STEEL, hole),
        part("laces", lace_colour, *laces),
        part("patch", patch_colour, patch),
        part(
            "toe cap",
            lace_colour if draws.chance() else patch_colour,
            ellipsoid(0.72 * wide, 0.13, 0.6 * toe).at(inward[1], -0.43 * length, thick + 0.28 * toe),
        ),
        part("heel", patch_colour, box(1.1 * wide, 0.1, 0.3, 0.03).at(inward[-1], 0.47 * length, thick + 0.17)),
    ]


def house(draws: Draws) -> list[Part]:
    """The gable or the eaves face the front, where the door is; the chimney stands at one side."""
    wall_colour, roof_colour, door_colour, brick = draws.palette(4)
    width, deep, tall = draws.uniform(1.2, 1.9), draws.uniform(1.1, 1.7), draws.uniform(0.7, 1.3)
    pitch, over, thick = draws.uniform(0.45, 0.95), 0.1, 0.09
    gable_front = draws.chance()
    across, along = (width, deep) if gable_front else (deep, width)
    rise = 0.5 * pitch * across
    eaves, ridge = tall - 0.01, tall + rise - 0.01  # just below the underside of the roof
    wall = [(-across / 2, 0), (across / 2, 0), (across / 2, eaves), (0, ridge), (-across / 2, eaves)]
    low = tall - over * pitch
    roof = [
        (-across / 2 - over, low),
        (0, tall + rise),
        (across / 2 + over, low),
        (across / 2 + over, low + thick),
        (0, tall + rise + thick),
        (-across / 2 - over, low + thick),
    ]
    axis = "y" if gable_front else "x"
    side, front = draws.choice((-1, 1)), -deep / 2
    door_at, door_tall = side * draws.uniform(0.12, 0.26) * width, min(0.62, 0.72 * tall)
    chimney_x = -side * 0.28 * width
    slope_at = abs(chimney_x) if gable_front else 0.2 * deep
    ground = tall + rise - pitch * slope_at
    chimney = box(0.2, 0.22, 0.6).at(chimney_x, 0.2 * deep, ground + 0.2)
    size = draws.uniform(0.24, 0.34)
    spots = [(-door_at * 1.2 - side * 0.04, 0.55 * tall)]
    if tall > 1.0:
        spots = [(spots[0][0], 0.35 * tall), (spots[0][0], 0.76 * tall), (door_at, 0.8 * tall)]
    panes = [box(size, 0.05, 0.9 * size).at(x, front, z) for x, z in spots]
    frames = [box(size + 0.08, 0.035, 0.9 * size + 0.08).at(x, front, z) for x, z in spots]
    side_spots = [(side * width / 2, y, 0.52 * tall) for y in (-0.2 * deep, 0.22 * deep)]
    panes += [box(0.05, size, 0.9 * size).at(*spot) for spot in side_spots]
    frames += [box(0.035, size + 0.08, 0.9 * size + 0.08).at(*spot) for spot in side_spots]
    parts = [
        part("walls", wall_colour, extrude(wall, along, axis=axis)),
        part("roof", roof_colour, extrude(roof, along + 2 * over, axis=axis)),
        part("door", door_colour, box(0.32, 0.07, door_tall).at(door_at, front, door_tall / 2 + 0.015)),
        part("windows", GLASS, *panes),
        part("frames", CREAM, *frames),
        part("chimney", brick, chimney),
        part("step", brick, box(0.46, 0.24, 0.09).at(door_at, front - 0.09, 0.04)),
    ]
    if draws.chance(0.4):  # a lean-to shed on the chimney's side
        shed = [(0.0, 0.0), (0.0, 0.62 * tall), (0.55, 0.42 * tall), (0.55, 0.0)]
        lean_to = (
            extrude(shed, 0.66 * deep, axis="y", bevel=0.02)
            .scaled(x=-side)
            .at(-side * (width / 2 - 0.02), 0.1 * deep, 0.012)
        )
        parts.append(part("shed", door_colour, lean_to))
    if draws.chance(0.4):
        porch = [box(0.6, 0.34, 0.06).turned("x", 14).at(door_at, front - 0.14, door_tall + 0.12)]
        porch += [
            box(0.05, 0.05, door_tall + 0.08).at(door_at + x, front - 0.26, (door_tall + 0.08) / 2)
            for x in (-0.25, 0.25)
        ]
        parts.append(part("porch", roof_colour, *porch))
    if draws.chance(0.3):
        parts.append(
            part(
                "gutter",
                STEEL,
                *both_sides(box(0.05, 0.05, 0.96 * tall).at(width / 2 + 0.012, front + 0.09, 0.48 * tall)),
            )
        )
    return parts
