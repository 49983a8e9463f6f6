"""Things one rides on. The front wheel points towards -y."""

import numpy as np

from assets.geometry import Part
from assets.procedural.draws import DARK_STEEL, GLASS, RUBBER, STEEL, Draws
from assets.procedural.shapes import (
    Mesh,
    both_sides,
    box,
    closed_spline,
    cylinder,
    ellipsoid,
    extrude,
    hull,
    loft,
    part,
    spline,
    torus,
    tube,
    wheels,
)


def bicycle(draws: Draws) -> list[Part]:
    paint, saddle_colour, bag_colour = draws.palette(3)
    wheel, base = draws.uniform(0.3, 0.37), draws.uniform(0.95, 1.15)
    small_front = draws.chance(0.25)
    front_wheel = 0.7 * wheel if small_front else wheel
    front, rear = np.array([0, -base / 2, front_wheel]), np.array([0, base / 2, wheel])
    crank = np.array([0, draws.uniform(0.04, 0.12), 0.27])
    saddle = np.array([0, draws.uniform(0.16, 0.24), draws.uniform(0.78, 0.98)])
    head = np.array([0, -base / 2 + draws.uniform(0.14, 0.22), draws.uniform(0.8, 0.95)])
    neck = head + 0.25 * (front - head)
    thick = draws.uniform(0.02, 0.032)
    step_through = draws.chance(0.4)
    join = crank + (0.35 if step_through else 0.85) * (saddle - crank)
    bars = [
        (crank, saddle),
        (neck, crank),
        (neck + 0.04 * (head - neck), join),
        (rear, crank),
        (rear, crank + 0.8 * (saddle - crank)),
    ]
    fork = both_sides(tube([front + (0.045, 0, 0), neck + (0.045, 0, 0)], 0.6 * thick))
    frame = [tube(bar, thick) for bar in bars]
    reach, sweep = draws.uniform(0.2, 0.32), draws.uniform(-0.1, 0.14)
    top = head + (0, -0.03, 0.07)
    bar = tube(
        [
            top + (-reach, sweep, 0.03),
            top + (-0.4 * reach, 0, 0.02),
            top,
            top + (0.4 * reach, 0, 0.02),
            top + (reach, sweep, 0.03),
        ],
        0.018,
    )
    grips = both_sides(tube([top + (reach - 0.06, 0.8 * sweep, 0.028), top + (reach, 1.0 * sweep, 0.03)], 0.028))
    spokes = []
    for centre, size, count in ((front, front_wheel, 5), (rear, wheel, 5)):
        spokes += [
            box(0.012, 0.016, 1.96 * size).turned("x", 180 * step / count).at(0.005 * step, centre[1], centre[2])
            for step in range(count)
        ]
    pedals = [
        tube([crank + (0.05, 0, 0), crank + (0.06, -0.1, -0.14), crank + (0.17, -0.1, -0.14)], 0.018),
        tube([crank - (0.05, 0, 0), crank + (-0.06, 0.1, 0.14), crank + (-0.17, 0.1, 0.14)], 0.018),
    ]
    seat = extrude(
        [(-0.03, -0.17), (0.03, -0.17), (0.05, -0.02), (0.1, 0.1), (-0.1, 0.1), (-0.05, -0.02)], 0.07, bevel=0.02
    ).at(*saddle)
    parts = [
        part("frame", paint, *frame, *fork, tube([neck, head + (0, -0.02, 0.06)], 0.9 * thick)),
        part(
            "tyres",
            RUBBER,
            torus(front_wheel, 0.03, 28).along("x").at(*front),
            torus(wheel, 0.03, 28).along("x").at(*rear),
        ),
        part("spokes", STEEL, *spokes),
        part("bar", STEEL, bar, *pedals),
        part("grips", saddle_colour, *grips),
        part("saddle", saddle_colour, seat),
        part("chain wheel", DARK_STEEL, cylinder(0.1, 0.03).along("x").at(crank[0] + 0.05, crank[1], crank[2])),
    ]
    if draws.chance(0.5):
        parts.append(part("basket", bag_colour, box(0.32, 0.24, 0.22, taper=1.2).at(0, head[1] - 0.2, head[2] - 0.04)))
    else:
        rack = [
            box(0.16, 0.36, 0.03).at(0, base / 2 + 0.02, 2 * wheel + 0.08),
            box(0.02, 0.02, wheel + 0.1).at(0.07, base / 2, 1.5 * wheel + 0.02),
        ]
        parts.append(part("rack", DARK_STEEL, *rack))
        parts.append(part("bag", bag_colour, box(0.1, 0.3, 0.26, 0.03).at(-0.12, base / 2 + 0.02, 2 * wheel - 0.06)))
    return parts


def scooter(draws: Draws) -> list[Part]:
    """A motor scooter: leg shield, seat over the rear wheel, lamp in front."""
    paint, seat_colour, trim = draws.palette(3)
    wheel, base = draws.uniform(0.2, 0.27), draws.uniform(1.15, 1.4)
    front, rear = -base / 2, base / 2
    floor = wheel + 0.02
    fat, seat_height = draws.uniform(0.16, 0.23), draws.uniform(0.68, 0.82)
    tyres, hubs = wheels(wheel, 0.13, (0, front, wheel), (0, rear - 0.08, wheel))
    rear_body = hull(
        [
            (0.05, 0.5 * fat, floor - 0.05, seat_height - 0.12),
            (0.3 * base, fat, wheel + 0.02, seat_height - 0.02),
            (rear, fat, wheel + 0.06, seat_height - 0.02),
            (rear + 0.28, 0.25 * fat, wheel + 0.2, seat_height - 0.12),
        ],
        2.6,
    )
    height = draws.uniform(0.92, 1.08)
    shield_at = front + 0.28
    shield = extrude(
        closed_spline(
            [(-0.13, floor), (0.13, floor), (0.25, 0.55), (0.17, height - 0.12), (-0.17, height - 0.12), (-0.25, 0.55)],
            24,
        ),
        0.07,
        axis="y",
        bevel=0.02,
    )
    shield = shield.turned("x", -12).at(0, shield_at - 0.16, 0.0)
    board = box(0.36, base / 2 - 0.1, 0.08).at(0, front + 0.16 + base / 4, floor - 0.04)
    column = tube([(0, front, wheel), (0, front + 0.12, height - 0.08), (0, front + 0.16, height)], 0.04)
    arc = np.radians(np.linspace(-15, 165, 14))
    rim = np.stack([-np.cos(arc), np.sin(arc)], axis=1)
    fender = extrude(np.concatenate([(wheel + 0.08) * rim, (wheel + 0.02) * rim[::-1]]), 0.2, axis="x", bevel=0.015)
    bar = tube(
        [
            (-0.34, front + 0.26, height + 0.04),
            (-0.1, front + 0.15, height + 0.02),
            (0.1, front + 0.15, height + 0.02),
            (0.34, front + 0.26, height + 0.04),
        ],
        0.03,
    )
    seat = hull(
        [
            (0.1, 0.5 * fat, seat_height - 0.06, seat_height + 0.05),
            (0.3 * base, 0.9 * fat, seat_height - 0.07, seat_height + 0.06),
            (rear + 0.2, 0.7 * fat, seat_height - 0.06, seat_height + draws.uniform(0.06, 0.14)),
        ],
        3,
    )
    side = draws.choice((-1, 1))
    parts = [
        part("tyres", RUBBER, *tyres),
        part("hubs", STEEL, *hubs),
        part("body", paint, rear_body),
        part("shield", paint, shield, board),
        part("fender", trim, fender.at(0, front, wheel)),
        part("column", STEEL, column, bar),
        part("seat", seat_colour, seat),
        part("lamp", (0.85, 0.84, 0.7), ellipsoid(0.09, 0.07, 0.09, 14).at(0, front + 0.08, height - 0.02)),
        part(
            "exhaust",
            DARK_STEEL,
            tube([(side * (fat - 0.02), 0.2 * base, wheel), (side * (fat + 0.04), rear + 0.3, wheel + 0.06)], 0.055),
        ),
    ]
    if draws.chance():
        parts.append(part("case", trim, box(0.34, 0.28, 0.28, 0.04, taper=0.9).at(0, rear + 0.3, seat_height + 0.16)))
    if draws.chance(0.4):
        parts.append(part("screen", GLASS, box(0.36, 0.03, 0.4).turned("x", -20).at(0, front + 0.05, height + 0.2)))
    return parts


def skateboard(draws: Draws) -> list[Part]:
    """The pointed nose is the front; the tail kicks up higher."""
    deck_colour, grip_colour, wheel_colour, stripe_colour = draws.palette(4)
    length, width = draws.uniform(1.4, 1.9), draws.uniform(0.42, 0.6)
    kick, nose_kick = draws.uniform(0.3, 0.5), draws.uniform(0.0, 0.06)
    point, level = draws.uniform(0.25, 0.6), draws.uniform(0.24, 0.32)
    half = [
        (0.0, -0.5),
        (0.5 * point, -0.47),
        (0.8 * point + 0.1, -0.38),
        (0.5, -0.2),
        (0.5, 0.36),
        (0.42, 0.46),
        (0.2, 0.5),
        (0.0, 0.502),
    ]
    edge = spline(half, 22) * (width, length)

    def sheet(low: float, high: float, share: float) -> Mesh:
        """The bent board between two levels, its outline scaled by `share`; lofted from nose to tail."""
        x, y = np.maximum(edge[:, 0], 0.02 * width) * share, edge[:, 1] * (0.5 + 0.5 * share)
        tail, front = np.clip(y / length - 0.24, 0, None) / 0.26, np.clip(-y / length - 0.33, 0, None) / 0.17
        z = kick * tail**1.5 + nose_kick * front**1.5
        corners = [(x, low), (x, high), (-x, high), (-x, low)]
        return loft(np.stack([np.stack([side, y, z + height], axis=1) for side, height in corners], axis=1)).at(z=level)

    trucks, axles = [], (-0.36 * length, draws.uniform(0.12, 0.2) * length)
    for y in axles:
        trucks.append(box(0.16, 0.2, level - 0.1, taper=1.2).at(0, y, level / 2 + 0.04))
        trucks.append(box(width, 0.06, 0.055).at(0, y, 0.12))
    radius = draws.uniform(0.09, 0.13)
    tyres, hubs = wheels(radius, 0.13, *((x, y, radius) for x in (-width / 2, width / 2) for y in axles))
    stripe_at, stripe_size = draws.uniform(-0.26, -0.1) * length, draws.uniform(0.06, 0.16) * length
    return [
        part("deck", deck_colour, sheet(-0.03, 0.02, 1.0)),
        part("grip", grip_colour, sheet(0.0, 0.045, 0.9)),
        part(
            "stripe",
            stripe_colour,
            box(0.8 * width, stripe_size, 0.06).at(0, stripe_at, level + 0.025),
            box(0.14 * width, 0.36 * length, 0.05).at(0.2 * width, stripe_at + 0.24 * length, level + 0.027),
        ),
        part("trucks", STEEL, *trucks),
        part("wheels", wheel_colour, *tyres),
        part("hubs", DARK_STEEL, *hubs),
    ]
