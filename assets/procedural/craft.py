"""Things that fly or float. The nose points towards -y."""

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
    hull,
    lathe,
    loft,
    part,
    spline,
    tube,
    wheels,
)


def aeroplane(draws: Draws) -> list[Part]:
    """A propeller plane, an airliner with engines under its wings, or a glider-like light plane."""
    paint, wing_paint, trim = draws.palette(3)
    length, fat = draws.uniform(3.2, 5.0), draws.uniform(0.24, 0.42)
    span, root = draws.uniform(1.7, 2.9), draws.uniform(0.7, 1.1)
    jet = draws.chance()
    sweep = draws.uniform(0.5, 1.4) if jet else draws.uniform(-0.05, 0.3)
    nose = -0.45 * length
    stations = [(nose, 0.3 * fat, -0.35 * fat, 0.25 * fat), (nose + 0.12 * length, 0.85 * fat, -0.85 * fat, 0.8 * fat)]
    stations += [
        (nose + 0.3 * length, fat, -fat, fat),
        (nose + 0.6 * length, 0.9 * fat, -0.8 * fat, 0.95 * fat),
        (nose + length, 0.15 * fat, 0.3 * fat, 0.75 * fat),
    ]
    fuselage = hull(stations, power=2.2)
    high = draws.chance(0.4) and not jet
    at, level = nose + draws.uniform(0.3, 0.38) * length, (0.8 if high else -0.5) * fat
    rise = draws.uniform(0.0, 0.3)
    wings = both_sides(_wing(root, draws.uniform(0.35, 0.7) * root, span, sweep, 0.13, rise).at(0.01, at, level))
    tail = nose + 0.84 * length
    tail_planes = both_sides(
        _wing(0.45 * root, 0.3 * root, 0.36 * span, 0.2 + 0.2 * jet, 0.12).at(0.01, tail, 0.45 * fat)
    )
    fin_height = draws.uniform(0.55, 0.95)
    fin = extrude(
        [
            (tail - 0.25, 0.4 * fat),
            (tail + 0.25 + 0.2 * jet, fin_height + 0.3 * fat),
            (tail + 0.62 + 0.2 * jet, fin_height + 0.3 * fat),
            (tail + 0.56, 0.4 * fat),
        ],
        0.09,
        axis="x",
        bevel=0.02,
    )
    parts = [
        part("fuselage", paint, fuselage),
        part("wings", wing_paint, *wings),
        part("tail planes", wing_paint, *tail_planes),
        part("fin", trim, fin),
    ]
    if jet:
        reach = 0.38
        engine = lathe([(0, 0.1), (0.12, 0.1), (0.17, 0), (0.2, 0.15), (0.18, 0.5), (0.1, 0.7), (0, 0.7)], 18)
        spot = (reach * span, at + reach * sweep - 0.2, level + reach * rise - 0.2)
        windows = box(0.06, 0.42 * length, 0.16 * fat).at(0.97 * fat, nose + 0.42 * length, 0.3 * fat)
        canopy = ellipsoid(0.62 * fat, 0.28, 0.36 * fat).at(0, nose + 0.1 * length, 0.5 * fat)
        parts.append(part("engines", trim, *both_sides(engine.along("y").at(*spot))))
        parts.append(part("windows", GLASS, *both_sides(windows)))
    else:
        canopy = ellipsoid(0.72 * fat, 0.15 * length, 0.62 * fat).at(0, nose + 0.36 * length, 0.72 * fat)
        parts += _propeller(draws, nose, -0.05 * fat, trim) + _undercarriage(at + 0.1, fat)
    return [*parts, part("cockpit", GLASS, canopy)]


def _wing(root: float, tip: float, span: float, sweep: float, thick: float, rise: float = 0.0) -> Mesh:
    """A wing half: from x = 0 to `span`, chords `root` and `tip` along y, leading edge swept back by `sweep`."""
    section = np.array([(0.0, 0.0), (0.12, 0.5), (0.4, 0.6), (1.0, 0.06), (1.0, -0.06), (0.4, -0.35), (0.12, -0.3)])
    rings = []
    for share in (0.0, 0.96, 1.0):
        chord = (root + (tip - root) * share) * (0.8 if share == 1 else 1)
        y = sweep * share + section[:, 0] * chord + (0.1 * tip if share == 1 else 0)
        z = rise * share + section[:, 1] * thick * chord * (0.5 if share == 1 else 1)
        rings.append(np.stack([np.full(len(section), span * share), y, z], axis=1))
    return loft(np.array(rings))


def _propeller(draws: Draws, nose: float, level: float, colour: Colour) -> list[Part]:
    count, size, turn = draws.integer(2, 3), draws.uniform(0.5, 0.75), draws.uniform(0, 360)
    blades = []
    for step in range(count):
        blade = box(0.13, 0.05, size).at(z=size / 2).turned("y", turn + 360 * step / count)
        blades.append(blade.at(0, nose - 0.06 - 0.012 * step, level))
    spinner = lathe([(0, -0.2), (0.07, -0.14), (0.11, 0), (0.1, 0.12), (0, 0.12)], 14).along("y").at(0, nose, level)
    return [part("propeller", DARK_STEEL, *blades), part("spinner", colour, spinner)]


def _undercarriage(at: float, fat: float) -> list[Part]:
    low = -fat - 0.3
    tyres, hubs = wheels(0.16, 0.1, (-0.5, at, low), (0.5, at, low))
    struts = both_sides(tube([(0.15, at, -0.6 * fat), (0.47, at, low)], 0.035))
    return [part("tyres", RUBBER, *tyres), part("hubs", STEEL, *hubs), part("struts", STEEL, *struts)]


def helicopter(draws: Draws) -> list[Part]:
    paint, trim, rotor_colour = draws.palette(3)
    cabin, fat = draws.uniform(1.3, 2.0), draws.uniform(0.48, 0.68)
    boom, blades = draws.uniform(1.6, 2.4), draws.integer(2, 4)
    body = hull(
        [
            (-cabin / 2, 0.3 * fat, -0.5 * fat, 0.1 * fat),
            (-0.2 * cabin, 0.9 * fat, -0.9 * fat, 0.8 * fat),
            (0.2 * cabin, fat, -0.9 * fat, fat),
            (0.62 * cabin, 0.35 * fat, -0.1 * fat, 0.7 * fat),
        ]
    )
    canopy = ellipsoid(0.78 * fat, 0.36 * cabin, 0.62 * fat).at(0, -0.3 * cabin, 0.1 * fat)
    end = 0.5 * cabin + boom
    tail = tube([(0, 0.4 * cabin, 0.35 * fat), (0, end, 0.5 * fat)], [0.28 * fat, 0.12 * fat], around=12)
    fin = extrude(
        [(end - 0.3, 0.3 * fat), (end + 0.15, 0.5 * fat + 0.6), (end + 0.38, 0.5 * fat + 0.6), (end + 0.12, 0.2 * fat)],
        0.07,
        axis="x",
        bevel=0.015,
    )
    side = draws.choice((-1, 1))
    mast_top, reach = fat + draws.uniform(0.2, 0.4), draws.uniform(1.5, 2.1)
    turn = draws.uniform(0, 180)
    rotor = [
        box(reach, 0.16, 0.035)
        .turned("x", 6)
        .at(x=reach / 2 + 0.05)
        .turned("z", turn + 360 * blade / blades)
        .at(0, 0, mast_top + 0.006 * blade)
        for blade in range(blades)
    ]
    tail_rotor = [
        box(0.03, 0.07, 0.75)
        .turned("x", turn + 60 * blade)
        .at(side * (0.13 + 0.01 * blade), end + 0.1, 0.5 * fat + 0.1)
        for blade in range(2)
    ]
    low = -0.9 * fat - draws.uniform(0.2, 0.35)
    skid = tube(
        [
            (0.8 * fat, -0.75 * cabin, low + 0.16),
            (0.8 * fat, -0.6 * cabin, low + 0.02),
            (0.8 * fat, -0.5 * cabin, low),
            (0.8 * fat, 0.6 * cabin, low),
        ],
        0.04,
    )
    struts = [tube([(0.4 * fat, y, -0.6 * fat), (0.8 * fat, y, low)], 0.035) for y in (-0.25 * cabin, 0.3 * cabin)]
    parts = [
        part("body", paint, body),
        part("canopy", GLASS, canopy),
        part("tail", trim, tail),
        part("fin", trim, fin),
        part(
            "mast",
            DARK_STEEL,
            cylinder(0.07, mast_top - 0.5 * fat, segments=14).at(z=(mast_top + 0.5 * fat) / 2),
            cylinder(0.15, 0.14).at(z=mast_top),
        ),
        part("rotor", rotor_colour, *rotor, *tail_rotor),
        part("skids", DARK_STEEL, *both_sides(skid, *struts)),
        part("door", rotor_colour, box(0.1, 0.3 * cabin, 0.8 * fat).at(-side * 0.93 * fat, 0.14 * cabin, 0.05 * fat)),
    ]
    if draws.chance():
        parts.append(part("tail plane", rotor_colour, box(1.0, 0.26, 0.05).at(0, end - 0.4, 0.46 * fat)))
    return parts


def boat(draws: Draws) -> list[Part]:
    """A sailing boat, a motor boat or a steamer with a funnel."""
    paint, deck_colour, upper_colour, trim = draws.palette(4)
    length, beam, deep = draws.uniform(2.6, 4.0), draws.uniform(0.9, 1.4), draws.uniform(0.45, 0.7)
    plan = _deck_plan(length, beam, draws.uniform(0.7, 0.95))
    along = plan[:, 1] / length
    sheer = 0.32 * (along**2 - along)  # the deck rises towards the bow
    sizes = ((0.0, 0.45), (0.3, 0.75), (0.7, 0.94), (1.0, 1.0))
    rings = [np.column_stack([plan * (size, 0.8 + 0.2 * level), level * (deep + sheer)]) for level, size in sizes]
    deck = np.column_stack([plan * 0.9, deep + sheer])
    parts = [
        part("hull", paint, loft(np.array(rings))),
        part("deck", deck_colour, loft(np.array([deck - (0, 0, 0.1), deck + (0, 0, 0.035)]))),
    ]
    style = draws.choice((_sails, _motor, _steam))
    return parts + style(draws, length, beam, deep, (upper_colour, deck_colour, trim))


def _deck_plan(length: float, beam: float, blunt: float) -> np.ndarray:
    """Deck outline (x, y): pointed bow at -y, flat stern."""
    side = [(0, -0.5), (0.31, -0.28), (0.5, 0.05), (0.5 * blunt, 0.5)]
    half = spline(side, 10) * (beam, length)
    return np.concatenate([half, half[:0:-1] * (-1, 1)])


def _sails(draws: Draws, length: float, beam: float, deep: float, colours: Sequence[Colour]) -> list[Part]:
    main_colour, jib_colour, trim = colours
    tall, step = draws.uniform(2.4, 3.4), -draws.uniform(0.05, 0.15) * length
    foot, swing = 0.47 * length - step, draws.choice((-1, 1)) * draws.uniform(15, 40)
    main = [(0.06, 0.4), (foot, 0.4), (0.55 * foot, 0.5 * tall), (0.06, 0.97 * tall)]
    jib = [(-0.06, draws.uniform(0.6, 0.85) * tall), (-0.06, 0.3), (-0.44 * length - step, 0.3)]
    boom = tube([(0, 0, 0.35), (0, foot, 0.35)], 0.03).turned("z", swing)
    mast = tube([(0, 0, -0.1), (0, 0, tall)], 0.045)
    return [
        part("mast", trim, mast.at(0, step, deep), boom.at(0, step, deep)),
        part("main sail", main_colour, extrude(main, 0.05, "x", 0.01).turned("z", swing).at(0, step, deep)),
        part("jib", jib_colour, extrude(jib, 0.04, "x", 0.008).turned("z", 0.4 * swing).at(0, step, deep)),
        part("cabin", trim, box(0.5 * beam, 0.26 * length, 0.34, 0.06).at(0, 0.04 * length, deep + 0.08)),
    ]


def _superstructure(
    draws: Draws, length: float, beam: float, deep: float, colour: Colour
) -> tuple[list[Part], float, float, float]:
    """A cabin with windows; also its centre along y, its length and the height of its roof."""
    size, tall = draws.uniform(0.28, 0.42) * length, draws.uniform(0.4, 0.6)
    at = draws.uniform(0.1, 0.2) * length
    cabin = box(0.62 * beam, size, tall, 0.05, taper=0.88).at(0, at, deep + tall / 2 - 0.02)
    pane = box(0.6 * beam, 0.9 * size, 0.3 * tall).at(0, at - 0.07 * size, deep + 0.68 * tall)
    return [part("cabin", colour, cabin), part("windows", GLASS, pane)], at, size, deep + tall


def _motor(draws: Draws, length: float, beam: float, deep: float, colours: Sequence[Colour]) -> list[Part]:
    cabin, at, size, roof = _superstructure(draws, length, beam, deep, colours[0])
    bow, rail_foot = deep + 0.36, (0.36 * beam, -0.1 * length, deep)
    rail = tube([(0.12 * beam, -0.4 * length, bow), (0.32 * beam, -0.2 * length, bow + 0.02), rail_foot], 0.025)
    screen = box(0.5 * beam, 0.05, 0.3).turned("x", -35).at(0, at - 0.5 * size, roof)
    engine = box(0.3, 0.3, 0.7, 0.06, taper=1.2).at(0, length / 2 + 0.02, 0.75 * deep)
    return [
        *cabin,
        part("screen", GLASS, screen),
        part("engine", colours[2], engine),
        part("rail", colours[2], *both_sides(rail)),
    ]


def _steam(draws: Draws, length: float, beam: float, deep: float, colours: Sequence[Colour]) -> list[Part]:
    cabin, at, size, roof = _superstructure(draws, length, beam, deep, colours[0])
    radius = draws.uniform(0.14, 0.22)
    funnel = cylinder(radius, 1.0, 0.85 * radius).turned("x", -10).at(0, at + 0.18 * size, roof + 0.4)
    bridge = box(0.5 * beam, 0.4 * size, 0.4, 0.04).at(0, at - 0.25 * size, roof + 0.15)
    return [*cabin, part("funnel", colours[2], funnel), part("bridge", colours[0], bridge)]
