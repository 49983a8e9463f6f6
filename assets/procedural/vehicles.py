"""Cars, engines and machines. The nose points towards -y."""

from collections.abc import Sequence

import numpy as np

from assets.geometry import Part
from assets.procedural.draws import DARK_STEEL, GLASS, RUBBER, STEEL, Colour, Draws
from assets.procedural.shapes import (
    Mesh,
    both_sides,
    box,
    cylinder,
    ellipsoid,
    extrude,
    lathe,
    part,
    rounded_rectangle,
    torus,
    tube,
    wheels,
)


def car(draws: Draws) -> list[Part]:
    """Saloon, hatchback, van or pick-up, after how far back the roof reaches."""
    paint, roof_paint, stripe_colour = draws.palette(3)
    length, width, height = draws.uniform(3.2, 4.8), draws.uniform(1.5, 1.9), draws.uniform(1.35, 1.85)
    wheel, clearance = draws.uniform(0.3, 0.42), draws.uniform(0.18, 0.3)
    waist = draws.uniform(0.5, 0.6) * height
    nose, tail = -length / 2, length / 2
    style = draws.choice(("saloon", "hatchback", "van", "pick-up"))
    shares = {"saloon": (0.30, 0.80), "hatchback": (0.28, 0.88), "van": (0.16, 0.95), "pick-up": (0.15, 0.50)}
    bonnet_share, roof_share = shares[style]
    bonnet = nose + (bonnet_share + draws.uniform(0, 0.06)) * length
    roof_end = nose + roof_share * length
    rear_foot = min(roof_end + draws.uniform(0.05, 0.5), tail - 0.06)
    side = [
        (nose, clearance + 0.08),
        (nose + 0.02, waist - 0.26),
        (nose + 0.15, waist - 0.17),
        (bonnet, waist),
        (tail - 0.1, waist),
    ]
    side += [(tail, waist - 0.08), (tail, clearance + 0.1), (tail - 0.15, clearance), (nose + 0.15, clearance)]
    body = extrude(side, width, axis="x", bevel=0.07)
    front_foot, slope = bonnet + 0.02, draws.uniform(0.25, 0.55)
    cabin = [(front_foot, waist - 0.05), (front_foot + slope, height), (roof_end, height), (rear_foot, waist - 0.05)]
    glass = extrude(cabin, width - 0.16, axis="x", bevel=0.1)
    roof = box(width - 0.3, roof_end - front_foot - slope + 0.1, 0.09, 0.03).at(
        0, (front_foot + slope + roof_end) / 2, height + 0.01
    )
    axles = nose + 0.19 * length, tail - 0.2 * length
    tyres, hubs = wheels(wheel, 0.22, *((x, y, wheel) for x in (-width / 2 + 0.06, width / 2 - 0.06) for y in axles))
    lights = both_sides(ellipsoid(0.15, 0.09, 0.09, 12).at(0.34 * width, nose + 0.03, waist - 0.3))
    tail_lights = both_sides(box(0.2, 0.08, 0.12).at(0.38 * width, tail, waist - 0.2))
    parts = [
        part("body", paint, body),
        part("glass", GLASS, glass),
        part("roof", roof_paint, roof),
        part("tyres", RUBBER, *tyres),
        part("hubs", STEEL, *hubs),
        part("headlights", (0.85, 0.84, 0.7), *lights),
        part("tail lights", (0.78, 0.15, 0.15), *tail_lights),
        part("bumpers", DARK_STEEL, *(box(width - 0.1, 0.14, 0.16).at(0, y, clearance + 0.14) for y in (nose, tail))),
    ]
    if draws.chance():
        stripe = box(draws.uniform(0.2, 0.5), bonnet - nose - 0.25, 0.05).at(
            0, (nose + bonnet) / 2 + 0.08, waist - 0.06
        )
        parts.append(part("stripe", stripe_colour, stripe))
    if style == "pick-up":
        walls = [
            box(0.08, tail - rear_foot - 0.1, 0.3).at(x, (tail + rear_foot) / 2 - 0.02, waist + 0.06)
            for x in (-width / 2 + 0.11, width / 2 - 0.11)
        ]
        parts.append(part("bed", paint, *walls, box(width - 0.2, 0.08, 0.28).at(0, tail - 0.1, waist + 0.06)))
    if draws.chance(0.3):
        load = box(draws.uniform(0.5, 0.9), draws.uniform(0.4, 0.7), 0.22).at(0, roof_end - 0.5, height + 0.14)
        parts.append(part("luggage", stripe_colour, load))
    return parts


def truck(draws: Draws) -> list[Part]:
    """A cab in front of a box, a tank or a tipper full of sand."""
    cab_paint, load_paint, trim = draws.palette(3)
    length, width = draws.uniform(4.5, 7.0), draws.uniform(1.8, 2.2)
    cab_length, cab_height = draws.uniform(1.2, 1.7), draws.uniform(1.7, 2.3)
    floor, wheel = draws.uniform(0.75, 0.95), draws.uniform(0.42, 0.52)
    nose, tail = -length / 2, length / 2
    back = nose + cab_length
    frame = box(0.8 * width, length - 0.4, 0.25).at(0, 0.1, floor - 0.18)
    rake = draws.uniform(0.0, 0.4)
    top = floor - 0.2 + cab_height
    side = [(nose, floor - 0.35), (nose, floor + 0.45), (nose + rake, top), (back, top), (back, floor - 0.35)]
    cab = extrude(side, width, axis="x", bevel=0.08)
    tilt = -float(np.degrees(np.arctan2(rake, top - floor - 0.45)))
    pane = (
        box(width - 0.3, 0.1, 0.55 * (top - floor))
        .turned("x", tilt)
        .at(0, nose + 0.5 * rake + 0.01, (top + floor + 0.5) / 2)
    )
    side_panes = both_sides(
        box(0.06, 0.42 * cab_length, 0.5).at(width / 2, nose + rake + 0.36 * cab_length, top - 0.55)
    )
    start = back + draws.uniform(0.15, 0.35)
    load = draws.choice((_box_load, _tank_load, _tipper_load))
    parts = load(draws, width, start, tail - start, floor, (load_paint, trim))
    axles = [nose + 0.65, tail - 0.6] + ([tail - 0.65 - 2.1 * wheel] if length > 5.5 else [])
    tyres, hubs = wheels(wheel, 0.3, *((x, y, wheel) for x in (-width / 2 + 0.12, width / 2 - 0.12) for y in axles))
    parts += [
        part("frame", DARK_STEEL, frame),
        part("cab", cab_paint, cab),
        part("panes", GLASS, pane, *side_panes),
        part("tyres", RUBBER, *tyres),
        part("hubs", STEEL, *hubs),
        part("bumper", DARK_STEEL, box(width + 0.06, 0.2, 0.25).at(0, nose - 0.02, floor - 0.3)),
        part(
            "lights",
            (0.85, 0.84, 0.7),
            *both_sides(ellipsoid(0.12, 0.08, 0.12, 12).at(0.36 * width, nose, floor + 0.08)),
        ),
    ]
    if draws.chance():
        stack = tube([(0.42 * width, back + 0.06, floor - 0.2), (0.42 * width, back + 0.06, top + 0.35)], 0.07)
        parts.append(part("exhaust", STEEL, stack))
    return parts


def _box_load(
    draws: Draws, width: float, start: float, length: float, floor: float, colours: Sequence[Colour]
) -> list[Part]:
    tall, middle = draws.uniform(1.7, 2.5), start + length / 2
    band = box(width + 0.16, 0.9 * length, 0.16 * tall)
    return [
        part("load", colours[0], box(width + 0.1, length, tall, 0.06).at(0, middle, floor + tall / 2 - 0.02)),
        part("band", colours[1], band.at(0, middle, floor + draws.uniform(0.25, 0.7) * tall)),
        part("door", colours[1], box(0.9 * width, 0.08, 0.85 * tall).at(0, start + length, floor + tall / 2)),
    ]


def _tank_load(
    draws: Draws, width: float, start: float, length: float, floor: float, colours: Sequence[Colour]
) -> list[Part]:
    radius = draws.uniform(0.42, 0.5) * width
    axis = floor + radius - 0.06
    dome = [(radius, length - 0.25), (0.7 * radius, length - 0.02), (0, length)]
    tank = lathe([(0, 0), (0.7 * radius, 0.02), (radius, 0.25), *dome]).along("y").at(0, start, axis)
    hoops = [torus(radius, 0.05).along("y").at(0, start + share * length, axis) for share in (0.25, 0.75)]
    hatch = cylinder(0.2, 0.3).at(0, start + 0.35 * length, axis + radius)
    return [part("load", colours[0], tank), part("hoops", colours[1], *hoops, hatch)]


def _tipper_load(
    draws: Draws, width: float, start: float, length: float, floor: float, colours: Sequence[Colour]
) -> list[Part]:
    tall, middle = draws.uniform(0.6, 1.0), start + length / 2
    side = box(0.1, length, tall).at(width / 2, middle, floor + tall / 2)
    front = box(width - 0.02, 0.1, tall + 0.35).at(0, start + 0.06, floor + tall / 2 + 0.185)
    back = box(width - 0.02, 0.1, tall - 0.03).at(0, start + length - 0.06, floor + tall / 2 + 0.02)
    bottom = box(width - 0.04, length - 0.03, 0.12).at(0, middle, floor + 0.05)
    sand = ellipsoid(0.46 * width, 0.47 * length, 0.9 * tall).at(0, middle, floor + 0.55 * tall)
    return [part("load", colours[0], *both_sides(side), front, back, bottom), part("sand", colours[1], sand)]


def train(draws: Draws) -> list[Part]:
    """A steam engine: boiler and funnel in front, the driver's cab behind."""
    paint, boiler_colour, trim, wheel_colour = draws.palette(4)
    length, radius, gauge = draws.uniform(2.2, 3.2), draws.uniform(0.38, 0.52), draws.uniform(0.75, 0.95)
    wheel, cab_length = draws.uniform(0.28, 0.4), draws.uniform(0.7, 1.0)
    floor, nose = 1.5 * wheel, -length / 2
    axis = floor + radius + 0.05
    back = nose + length
    boiler_end = back - cab_length
    boiler = lathe(
        [(0, 0), (0.9 * radius, 0), (radius, 0.07), (radius, boiler_end - nose + 0.1), (0, boiler_end - nose + 0.1)], 24
    )
    bands = [
        torus(radius, 0.03).along("y").at(0, nose + share * (boiler_end - nose), axis) for share in (0.3, 0.55, 0.8)
    ]
    stack, flare = draws.uniform(0.4, 0.75), draws.uniform(1.0, 2.0)
    funnel = lathe(
        [(0, 0), (0.14, 0), (0.13, 0.5 * stack), (0.13 * flare, stack), (0.11, stack), (0.1, 0.3), (0, 0.3)]
    ).at(0, nose + 0.25, axis + 0.9 * radius)
    dome = lathe([(0, 0), (0.18, 0), (0.18, 0.15), (0.14, 0.25), (0.06, 0.31), (0, 0.32)]).at(
        0, nose + 0.55 * (boiler_end - nose), axis + 0.88 * radius
    )
    wall, cab_top = 2 * gauge - 0.5, axis + radius + draws.uniform(0.25, 0.5)
    sides = both_sides(
        box(0.06, cab_length, cab_top - floor).at(wall / 2, back - cab_length / 2, (cab_top + floor) / 2)
    )
    front = box(wall - 0.02, 0.06, cab_top - floor - 0.02).at(0, boiler_end + 0.05, (cab_top + floor) / 2)
    bunker = box(wall - 0.02, 0.1, 0.45 * (cab_top - floor)).at(0, back - 0.07, floor + 0.22 * (cab_top - floor))
    roof = box(wall + 0.24, cab_length + 0.3, 0.1).at(0, back - cab_length / 2 - 0.02, cab_top)
    windows = both_sides(
        box(0.05, 0.42 * cab_length, 0.35 * (cab_top - axis) + 0.1).at(
            wall / 2 + 0.02, back - cab_length / 2, cab_top - 0.3
        )
    )
    count = draws.integer(2, 3)
    spots = [
        (x, nose + 0.4 + step * (length - 0.9) / (count - 1), wheel)
        for x in (-gauge / 2 - 0.02, gauge / 2 + 0.02)
        for step in range(count)
    ]
    tyres, hubs = wheels(wheel, 0.12, *spots)
    rods = both_sides(box(0.05, length - 0.7, 0.07).at(gauge / 2 + 0.1, -0.02, wheel - 0.08))
    catcher = extrude(
        [(nose - 0.45, 0.08), (nose + 0.02, 0.08), (nose + 0.02, floor - 0.08), (nose - 0.12, floor - 0.08)],
        0.85 * gauge,
        axis="x",
        bevel=0.02,
    )
    return [
        part("frame", DARK_STEEL, box(gauge, length, 0.2).at(0, 0, floor)),
        part("boiler", boiler_colour, boiler.along("y").at(0, nose, axis)),
        part("bands", trim, *bands),
        part("funnel", DARK_STEEL, funnel),
        part("dome", trim, dome),
        part("cab", paint, *sides, front, bunker),
        part("roof", trim, roof),
        part("windows", GLASS, *windows),
        part("wheels", wheel_colour, *tyres),
        part("hubs", DARK_STEEL, *hubs),
        part("rods", STEEL, *rods),
        part("catcher", paint, catcher),
        part("lamp", (0.85, 0.84, 0.7), cylinder(0.11, 0.16).along("y").at(0, nose, axis + 0.25)),
    ]


def excavator(draws: Draws) -> list[Part]:
    """A digger on tracks: the arm reaches forwards beside the cab."""
    paint, cab_paint, bucket_colour = draws.palette(3)
    length, width, track = draws.uniform(1.8, 2.4), draws.uniform(1.4, 1.8), draws.uniform(0.45, 0.6)
    loop = rounded_rectangle(length, track, 0.48 * track, corner=5)
    tracks = both_sides(extrude(loop, 0.34, axis="x", bevel=0.04).at(width / 2, 0, track / 2))
    rollers = both_sides(
        *(
            cylinder(0.3 * track, 0.42, segments=14).along("x").at(width / 2, y, track / 2)
            for y in np.linspace(-0.32, 0.32, 3) * length
        )
    )
    floor, side = track + 0.08, draws.choice((-1, 1))
    swing = draws.uniform(-35, 35)
    deck = box(width - 0.1, 0.9 * length, 0.25, 0.04).at(0, 0.1, floor + 0.12)
    engine = box(width - 0.14, 0.38 * length, 0.6, 0.08).at(0, 0.34 * length, floor + 0.5)
    cab_tall = draws.uniform(0.85, 1.1)
    cab_at = (side * (width / 2 - 0.4), -0.18 * length, floor + 0.22)
    pane = box(0.5, 0.62, 0.6 * cab_tall, 0.03).at(
        cab_at[0] + side * 0.08, cab_at[1] - 0.06, cab_at[2] + 0.56 * cab_tall
    )
    cab = box(0.58, 0.66, cab_tall, 0.05).at(cab_at[0], cab_at[1], cab_at[2] + cab_tall / 2 - 0.02)
    lift, first, second = np.radians(draws.uniform(35, 65)), draws.uniform(1.3, 1.8), draws.uniform(0.9, 1.3)
    drop = np.radians(draws.uniform(-75, -35))
    root = np.array([-side * 0.22, -0.25 * length, floor + 0.35])
    elbow = root + (0, -first * np.cos(lift), first * np.sin(lift))
    wrist = elbow + (0, -second * np.cos(drop), second * np.sin(drop))

    def beam(start: np.ndarray, end: np.ndarray, thick: float, wide: float) -> Mesh:
        span = end - start
        angle = float(np.degrees(np.arctan2(span[2], -span[1])))
        bar = box(wide, float(np.linalg.norm(span)) + 0.2, thick)
        return bar.turned("x", -angle).at(*((start + end) / 2))

    piston = tube([root + (0, -0.35, 0.05), (root + elbow) / 2 + (0, -0.12, -0.18)], 0.05)
    wide = draws.uniform(0.5, 0.75)
    scoop = [(0.2, 0.15), (0.28, -0.25), (0.05, -0.5), (-0.3, -0.48), (-0.1, -0.3), (-0.1, 0.1)]
    bucket = (
        extrude(scoop, wide, axis="x", bevel=0.02)
        .turned("x", draws.uniform(-30, 15))
        .at(wrist[0], wrist[1] + 0.02, wrist[2])
    )
    upper = [
        part("deck", paint, deck.turned("z", swing), engine.turned("z", swing)),
        part("cab", cab_paint, cab.turned("z", swing)),
        part("panes", GLASS, pane.turned("z", swing)),
        part(
            "arm",
            paint,
            beam(root, elbow, 0.3, 0.21).turned("z", swing),
            beam(elbow, wrist, 0.22, 0.17).turned("z", swing),
        ),
        part("piston", STEEL, piston.turned("z", swing)),
        part("bucket", bucket_colour, bucket.turned("z", swing)),
    ]
    return [part("tracks", RUBBER, *tracks), part("rollers", STEEL, *rollers), *upper]


def tractor(draws: Draws) -> list[Part]:
    paint, hub_colour, seat_colour = draws.palette(3)
    big, small = draws.uniform(0.62, 0.8), draws.uniform(0.32, 0.45)
    length, width = draws.uniform(2.0, 2.6), draws.uniform(1.1, 1.4)
    nose, axle, level = -length / 2, length / 2 - 0.55, draws.uniform(0.65, 0.8)
    bonnet_height = draws.uniform(0.5, 0.65)
    bonnet = extrude(
        [
            (nose, level - 0.15),
            (nose - 0.05, level + bonnet_height - 0.1),
            (nose + 0.12, level + bonnet_height),
            (0.1, level + bonnet_height + 0.08),
            (0.1, level - 0.15),
        ],
        0.6,
        axis="x",
        bevel=0.06,
    )
    grille = box(0.42, 0.1, 0.6 * bonnet_height).at(0, nose - 0.02, level + 0.45 * bonnet_height)
    frame = box(0.5, length - 0.3, 0.26).at(0, 0, level - 0.12)
    rear_tyres, rear_hubs = wheels(big, 0.4, (-width / 2, axle, big), (width / 2, axle, big))
    front_tyres, front_hubs = wheels(
        small, 0.26, (-0.42 * width, nose + 0.35, small), (0.42 * width, nose + 0.35, small)
    )
    fenders = both_sides(
        extrude(
            [
                (axle - big - 0.02, big + 0.05),
                (axle - 0.6 * big, 1.75 * big),
                (axle, 2.1 * big),
                (axle + 0.7 * big, 1.75 * big),
                (axle + 0.5 * big, 1.6 * big),
                (axle, 1.9 * big),
                (axle - 0.5 * big, 1.6 * big),
            ],
            0.4,
            axis="x",
        ).at(width / 2 - 0.12, 0, 0)
    )
    pipe = tube(
        [
            (0.16, nose + 0.55, level + bonnet_height - 0.1),
            (0.16, nose + 0.55, level + bonnet_height + draws.uniform(0.45, 0.7)),
        ],
        0.05,
    )
    axles = [
        cylinder(0.08, 0.9 * width, segments=12).along("x").at(0, nose + 0.35, small),
        cylinder(0.12, width, segments=12).along("x").at(0, axle, big),
    ]
    parts = [
        part("bonnet", paint, bonnet),
        part("frame", DARK_STEEL, frame, grille),
        part("tyres", RUBBER, *rear_tyres, *front_tyres),
        part("hubs", hub_colour, *rear_hubs, *front_hubs),
        part("fenders", paint, *fenders),
        part("pipe", DARK_STEEL, pipe, *axles),
        part(
            "lights",
            (0.85, 0.84, 0.7),
            *both_sides(ellipsoid(0.08, 0.06, 0.08, 12).at(0.24, nose - 0.03, level + 0.8 * bonnet_height)),
        ),
    ]
    cab_end = axle + 0.2
    if draws.chance():
        top = level + bonnet_height + draws.uniform(0.75, 0.95)
        side = [(0.16, level + 0.1), (0.22, top), (cab_end, top), (cab_end + 0.1, level + 0.1)]
        parts.append(part("cab", GLASS, extrude(side, 0.72, axis="x", bevel=0.05)))
        parts.append(part("roof", paint, box(0.9, cab_end - 0.1, 0.12, 0.03).at(0, (cab_end + 0.2) / 2, top)))
    else:
        seat = [
            box(0.46, 0.42, 0.12, 0.03).at(0, axle - 0.05, level + 0.42),
            box(0.44, 0.1, 0.42, 0.03).turned("x", -10).at(0, axle + 0.2, level + 0.62),
            box(0.3, 0.3, 0.4).at(0, axle, level + 0.2),
        ]
        parts.append(part("seat", seat_colour, *seat))
        wheel = [
            torus(0.2, 0.025, 18).turned("x", 35).at(0, 0.3, level + bonnet_height + 0.22),
            tube([(0, 0, level + bonnet_height - 0.1), (0, 0.3, level + bonnet_height + 0.22)], 0.03),
        ]
        parts.append(part("steering wheel", DARK_STEEL, *wheel))
    return parts
