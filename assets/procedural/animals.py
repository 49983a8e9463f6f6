"""Animals, toys of them, facing -y."""

import numpy as np

from assets.geometry import Part
from assets.procedural.draws import CREAM, RUBBER, Draws
from assets.procedural.shapes import (
    both_sides,
    box,
    closed_spline,
    cylinder,
    ellipsoid,
    extrude,
    hull,
    lathe,
    part,
    spline,
    torus,
    tube,
)


def dog(draws: Draws) -> list[Part]:
    """Standing, from dachshund to greyhound, with a collar."""
    fur, patch_colour, collar_colour = draws.palette(3)
    length, legs, fat = draws.uniform(0.8, 1.4), draws.uniform(0.25, 0.75), draws.uniform(0.17, 0.28)
    chest, hip = -length / 2, length / 2
    level = legs + fat
    body = hull(
        [
            (chest - 0.1, 0.45 * fat, level - 0.4 * fat, level + 0.6 * fat),
            (chest + 0.12, fat, level - 1.15 * fat, level + fat),
            (0.1, 0.85 * fat, level - 0.7 * fat, level + 0.85 * fat),
            (hip, 0.8 * fat, level - 0.7 * fat, level + 0.85 * fat),
            (hip + 0.1, 0.4 * fat, level - 0.3 * fat, level + 0.5 * fat),
        ]
    )
    leg = draws.uniform(0.055, 0.085)
    limbs = []
    for y, hock in ((chest + 0.12, 0.0), (hip - 0.08, 0.07)):
        limbs.append(
            tube(
                [(0.6 * fat, y, level - 0.2 * fat), (0.62 * fat, y + hock, 0.5 * legs), (0.62 * fat, y, 0.05)],
                [1.5 * leg, leg, 0.9 * leg],
                around=10,
            )
        )
    paws = [
        ellipsoid(1.15 * leg, 1.7 * leg, 0.8 * leg, 12).at(0.62 * fat, y - 0.04, 0.045)
        for y in (chest + 0.12, hip - 0.08)
    ]
    head = draws.uniform(0.19, 0.27)
    rise = draws.uniform(0.28, 0.55)
    skull = np.array([0, chest - 0.2, level + rise])
    neck = tube([(0, chest + 0.08, level + 0.2 * fat), skull + (0, 0.06, -0.04)], [0.75 * fat, 0.62 * head], around=14)
    muzzle = draws.uniform(0.16, 0.36)
    snout = tube(
        [skull + (0, -0.4 * head, -0.25 * head), skull + (0, -0.8 * head - muzzle, -0.4 * head)],
        [0.62 * head, 0.36 * head],
        around=12,
    )
    nose = ellipsoid(0.17 * head, 0.16 * head, 0.15 * head, 12).at(*(skull + (0, -0.98 * head - muzzle, -0.28 * head)))
    eyes = both_sides(
        ellipsoid(0.13 * head, 0.1 * head, 0.15 * head, 10).at(
            0.42 * head, skull[1] - 0.8 * head, skull[2] + 0.22 * head
        )
    )
    if draws.chance():
        ear = (
            ellipsoid(0.07, 0.14, draws.uniform(0.2, 0.34))
            .turned("y", 14)
            .at(0.95 * head, skull[1] + 0.02, skull[2] - 0.1)
        )
    else:
        ear = (
            lathe([(0, 0), (0.11, 0), (0.075, 0.14), (0.01, draws.uniform(0.24, 0.34)), (0, 0.34)], 12)
            .scaled(1, 0.55, 1)
            .turned("y", 18)
            .at(0.5 * head, skull[1] + 0.04, skull[2] + 0.6 * head)
        )
    wag = draws.uniform(-0.25, 0.25)
    tail = tube(
        spline(
            [
                (0, hip, level + 0.5 * fat),
                (0.3 * wag, hip + 0.25, level + 0.75 * fat),
                (wag, hip + 0.3, level + 0.6 * fat + draws.uniform(0.1, 0.5)),
            ],
            9,
        ),
        np.linspace(0.075, 0.035, 9),
    )
    middle = (np.array([0, chest + 0.08, level + 0.2 * fat]) + skull + (0, 0.06, -0.04)) / 2
    pitch = float(np.degrees(np.arctan2(skull[1] + 0.06 - chest - 0.08, skull[2] - 0.04 - level - 0.2 * fat)))
    collar = torus(0.5 * (0.75 * fat + 0.62 * head) + 0.012, 0.035).turned("x", -pitch).at(*middle)
    side = draws.choice((-1, 1))
    saddle = ellipsoid(0.82 * fat, draws.uniform(0.18, 0.36) * length, 0.5 * fat).at(
        0, draws.uniform(0.0, 0.2) * length, level + 0.52 * fat
    )
    spot = ellipsoid(0.3 * fat, 0.2, 0.55 * fat, 14).at(side * 0.72 * fat, chest + 0.2, level)
    return [
        part("body", fur, body),
        part("neck", fur, neck),
        part("legs", fur, *both_sides(*limbs)),
        part("paws", patch_colour, *both_sides(*paws)),
        part("head", fur, ellipsoid(0.92 * head, 1.05 * head, 0.92 * head).at(*skull)),
        part("snout", patch_colour if draws.chance() else fur, snout),
        part("nose", RUBBER, nose, *eyes),
        part("ears", patch_colour, *both_sides(ear)),
        part("tail", fur, tail),
        part("collar", collar_colour, collar),
        part("patches", patch_colour, saddle, spot),
    ]


def duck(draws: Draws) -> list[Part]:
    """A toy duck on a wheeled board, or swimming without one."""
    plumage, wing_colour, beak_colour, board_colour = draws.palette(4)
    length, fat = draws.uniform(0.9, 1.3), draws.uniform(0.3, 0.42)
    neck, head = draws.uniform(0.25, 0.75), draws.uniform(0.19, 0.27)
    body = hull(
        [
            (-length / 2, 0.35 * fat, 0.1, 0.55 * fat + 0.05),
            (-0.3 * length, 0.9 * fat, -0.05, 1.1 * fat),
            (0.1 * length, fat, -0.06, 1.1 * fat),
            (0.4 * length, 0.55 * fat, 0.2 * fat, 1.1 * fat),
            (0.58 * length, 0.12, 0.9 * fat, 1.35 * fat + 0.05),
        ]
    )
    root = np.array([0, -0.28 * length, 0.75 * fat])
    crown = np.array([0, -0.36 * length - draws.uniform(0.0, 0.15), 1.1 * fat + neck])
    bow = (root + crown) / 2 + (0, draws.uniform(0.0, 0.08), 0)
    throat = tube(spline([root, bow, crown], 9), np.linspace(0.62 * fat, 0.55 * head, 9), around=14)
    bill = draws.uniform(0.2, 0.34)
    beak = hull(
        [
            (0, 0.5 * head, -0.24 * head, 0.2 * head),
            (0.5 * bill, 0.42 * head, -0.14 * head, 0.1 * head),
            (bill, 0.5 * head, -0.1 * head, 0.02),
        ],
        2.4,
        14,
        8,
    )
    beak = beak.scaled(y=-1).at(crown[0], crown[1] - 0.8 * head, crown[2] - 0.1 * head)
    wing = (
        ellipsoid(0.09, 0.34 * length, 0.42 * fat)
        .turned("x", draws.uniform(5, 20))
        .at(0.93 * fat, 0.1 * length, 0.62 * fat)
    )
    eyes = both_sides(ellipsoid(0.04, 0.055, 0.055, 10).at(0.86 * head, crown[1] - 0.35 * head, crown[2] + 0.28 * head))
    parts = [
        part("body", plumage, body),
        part("neck", plumage if draws.chance() else wing_colour, throat),
        part("head", plumage if draws.chance() else wing_colour, ellipsoid(head, 1.08 * head, 0.95 * head).at(*crown)),
        part("beak", beak_colour, beak),
        part("wings", wing_colour, *both_sides(wing)),
        part("eyes", RUBBER, *eyes),
    ]
    if draws.chance(0.6):
        board = box(1.5 * fat, 0.95 * length, 0.1).at(0, 0, -0.1)
        rims = [
            cylinder(0.14, 0.09, segments=16).along("x").at(x, y, -0.16)
            for x in (-0.8 * fat, 0.8 * fat)
            for y in (-0.32 * length, 0.32 * length)
        ]
        parts += [part("board", board_colour, board), part("wheels", beak_colour, *rims)]
    else:
        feet = both_sides(
            box(0.2, 0.34, 0.05).turned("z", 14).at(0.5 * fat, -0.06 * length, -0.2),
            box(0.07, 0.07, 0.26).at(0.5 * fat, 0.0, -0.08),
        )
        parts.append(part("feet", beak_colour, *feet))
        parts.append(
            part("ring", board_colour, torus(0.58 * head + 0.1, 0.035).turned("x", 20).at(*(bow + (0, -0.01, 0.0))))
        )
    return parts


def chess_knight(draws: Draws) -> list[Part]:
    """A horse's head on a turned foot."""
    coat, mane_colour, felt = draws.palette(3)
    foot, base = draws.uniform(0.34, 0.44), draws.uniform(0.16, 0.3)
    tall, thick = draws.uniform(0.95, 1.25), draws.uniform(0.24, 0.34)
    pedestal = lathe(
        [
            (0, 0),
            (foot, 0),
            (foot, 0.35 * base),
            (0.78 * foot, 0.5 * base),
            (0.84 * foot, 0.75 * base),
            (0.7 * foot, base),
            (0, base),
        ],
        28,
    )
    muzzle, drop = draws.uniform(0.5, 0.68), draws.uniform(0.3, 0.44)
    chest = draws.uniform(0.2, 0.27)
    brow = tall - 0.1
    side = [
        (0.27, 0.0),
        (0.3, 0.25 * tall),
        (0.28, 0.6 * tall),
        (0.16, 0.93 * tall),
        (0.02, tall),
        (-0.1, brow),
        (-0.3, brow - 0.16),
    ]
    side += [
        (-muzzle, tall - drop - 0.12),
        (-muzzle + 0.02, tall - drop - 0.25),
        (-0.36, tall - drop - 0.27),
        (-0.14, tall - drop - 0.15),
        (-0.1, 0.42 * tall),
        (-chest, 0.2 * tall),
        (-0.26, 0.0),
    ]
    outline = closed_spline(side, 52)
    head = extrude(outline, thick, axis="x", bevel=0.06).at(z=base - 0.03)
    ears = both_sides(
        lathe([(0, 0), (0.07, 0), (0.05, 0.12), (0.008, draws.uniform(0.18, 0.28)), (0, 0.28)], 10).at(
            0.3 * thick, -0.01, base + tall - 0.12
        )
    )
    spikes = draws.integer(4, 7)
    mane = []
    for step in range(spikes):
        at = spline([(0.24, 0.2 * tall), (0.29, 0.6 * tall), (0.16, 0.93 * tall), (0.0, tall)], spikes)[step]
        mane.append(
            box(0.42 * thick - 0.004 * step, 0.17, 0.14, 0.02)
            .turned("x", 75 - 70 * step / spikes)
            .at(0, at[0] + 0.02, at[1] + base - 0.02)
        )
    eyes = both_sides(ellipsoid(0.045, 0.055, 0.05, 12).at(thick / 2 - 0.005, -0.16, base + brow - 0.16))
    nostrils = both_sides(
        ellipsoid(0.03, 0.03, 0.03, 10).at(thick / 2 - 0.03, -muzzle + 0.07, base + tall - drop - 0.16)
    )
    parts = [
        part("pedestal", coat if draws.chance() else mane_colour, pedestal),
        part("head", coat, head),
        part("ears", coat, *ears),
        part("mane", mane_colour, *mane),
        part("eyes", CREAM, *eyes),
        part("nostrils", RUBBER, *nostrils),
        part("felt", felt, cylinder(1.02 * foot, 0.06, segments=28).at(z=0.01)),
    ]
    if draws.chance():
        strap = box(thick + 0.05, 0.3, 0.06).turned("x", -40).at(0, -0.27, base + tall - drop - 0.06)
        parts.append(part("bridle", felt, strap))
    return parts
