"""Things that drive, fly or float. The nose points towards -y."""

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
    lathe,
    loft,
    part,
    rounded_rectangle,
    spline,
    torus,
    tube,
    wheels,
)


def car(draws: Draws) -> list[Part]:
    """Saloon, hatchback, van or pick-up, after how far back the roof reaches."""
    paint, roof_paint, stripe_colour = draws.palette(3)
    length, width, height = draws.uniform(3.2, 4.8), draws.uniform(1.5, 1.9), draws.uniform(1.25, 1.75)
    wheel, clearance = draws.uniform(0.3, 0.42), draws.uniform(0.18, 0.3)
    waist = draws.uniform(0.5, 0.6) * height
    nose, tail = -length / 2, length / 2
    bonnet = nose + draws.uniform(0.22, 0.34) * length
    style = draws.choice(("saloon", "hatchback", "van", "pick-up"))
    roof_end = {"saloon": 0.72, "hatchback": 0.86, "van": 0.95, "pick-up": 0.62}[style] * length + nose
    rear_foot = min(roof_end + draws.uniform(0.05, 0.5), tail - 0.06)
    side = [(nose, clearance + 0.08), (nose + 0.02, waist - 0.18), (nose + 0.15, waist - 0.1), (bonnet, waist), (tail - 0.1, waist)]
    side += [(tail, waist - 0.08), (tail, clearance + 0.1), (tail - 0.15, clearance), (nose + 0.15, clearance)]
    body = extrude(side, width, axis="x", bevel=0.07)
    front_foot, slope = bonnet + 0.02, draws.uniform(0.25, 0.55)
    cabin = [(front_foot, waist - 0.05), (front_foot + slope, height), (roof_end, height), (rear_foot, waist - 0.05)]
    glass = extrude(cabin, width - 0.16, axis="x", bevel=0.1)
    roof = box(width - 0.3, roof_end - front_foot - slope + 0.1, 0.09, 0.03).at(0, (front_foot + slope + roof_end) / 2, height + 0.01)
    axles = nose + 0.19 * length, tail - 0.2 * length
    tyres, hubs = wheels(wheel, 0.22, *((x, y, wheel) for x in (-width / 2 + 0.06, width / 2 - 0.06) for y in axles))
    lights = both_sides(ellipsoid(0.15, 0.09, 0.09, 12).at(0.34 * width, nose + 0.03, waist - 0.22))
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
        stripe = box(draws.uniform(0.2, 0.5), bonnet - nose - 0.25, 0.05).at(0, (nose + bonnet) / 2 + 0.08, waist - 0.03)
        parts.append(part("stripe", stripe_colour, stripe.turned("x", 0)))
    if style == "pick-up":
        walls = [box(0.08, tail - rear_foot - 0.1, 0.3).at(x, (tail + rear_foot) / 2 - 0.02, waist + 0.06) for x in (-width / 2 + 0.11, width / 2 - 0.11)]
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
    pane = box(width - 0.3, 0.1, 0.55 * (top - floor)).turned("x", tilt).at(0, nose + 0.5 * rake + 0.01, (top + floor + 0.5) / 2)
    side_panes = both_sides(box(0.06, 0.42 * cab_length, 0.5).at(width / 2, nose + rake + 0.36 * cab_length, top - 0.55))
    start = back + draws.uniform(0.15, 0.35)
    middle, load_length = (start + tail) / 2, tail - start
    style = draws.choice(("box", "tank", "tipper"))
    parts = []
    if style == "box":
        tall = draws.uniform(1.4, 2.3)
        parts.append(part("load", load_paint, box(width + 0.1, load_length, tall, 0.06).at(0, middle, floor + tall / 2 - 0.02)))
        parts.append(part("band", trim, box(width + 0.16, 0.9 * load_length, 0.16 * tall).at(0, middle, floor + draws.uniform(0.25, 0.7) * tall)))
        parts.append(part("door", trim, box(0.9 * width, 0.08, 0.85 * tall).at(0, tail, floor + tall / 2)))
    elif style == "tank":
        radius = draws.uniform(0.42, 0.5) * width
        tank = lathe([(0, 0), (0.7 * radius, 0.02), (radius, 0.25), (radius, load_length - 0.25), (0.7 * radius, load_length - 0.02), (0, load_length)])
        parts.append(part("load", load_paint, tank.along("y").at(0, start, floor + radius - 0.06)))
        hoops = [torus(radius, 0.05).along("y").at(0, start + share * load_length, floor + radius - 0.06) for share in (0.25, 0.75)]
        parts.append(part("hoops", trim, *hoops))
        parts.append(part("hatch", trim, cylinder(0.2, 0.3).at(0, start + 0.35 * load_length, floor + 2 * radius)))
    else:
        tall = draws.uniform(0.6, 1.0)
        walls = [box(0.1, load_length, tall).at(x, middle, floor + tall / 2) for x in (-width / 2, width / 2)]
        walls += [box(width - 0.02, 0.1, tall + extra).at(0, y, floor + (tall + extra) / 2) for y, extra in ((start + 0.06, 0.35), (tail - 0.06, -0.03))]
        parts.append(part("load", load_paint, *walls, box(width - 0.02, load_length - 0.03, 0.12).at(0, middle, floor + 0.05)))
        parts.append(part("sand", trim, ellipsoid(0.46 * width, 0.47 * load_length, 0.9 * tall).at(0, middle, floor + 0.55 * tall)))
    axles = [nose + 0.65, tail - 0.6] + ([tail - 0.65 - 2.1 * wheel] if length > 5.5 else [])
    tyres, hubs = wheels(wheel, 0.3, *((x, y, wheel) for x in (-width / 2 + 0.12, width / 2 - 0.12) for y in axles))
    parts += [
        part("frame", DARK_STEEL, frame),
        part("cab", cab_paint, cab),
        part("panes", GLASS, pane, *side_panes),
        part("tyres", RUBBER, *tyres),
        part("hubs", STEEL, *hubs),
        part("bumper", DARK_STEEL, box(width + 0.06, 0.2, 0.25).at(0, nose - 0.02, floor - 0.3)),
        part("lights", (0.85, 0.84, 0.7), *both_sides(ellipsoid(0.12, 0.08, 0.12, 12).at(0.36 * width, nose, floor + 0.08))),
    ]
    if draws.chance():
        stack = tube([(0.42 * width, back + 0.06, floor - 0.2), (0.42 * width, back + 0.06, top + 0.35)], 0.07)
        parts.append(part("exhaust", STEEL, stack))
    return parts


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


def aeroplane(draws: Draws) -> list[Part]:
    """A propeller plane, an airliner with engines under its wings, or a glider-like light plane."""
    paint, wing_paint, trim = draws.palette(3)
    length, fat = draws.uniform(3.2, 5.0), draws.uniform(0.24, 0.42)
    span, root = draws.uniform(1.7, 2.9), draws.uniform(0.7, 1.1)
    jet = draws.chance()
    sweep = draws.uniform(0.5, 1.4) if jet else draws.uniform(-0.05, 0.3)
    nose = -0.45 * length
    stations = [(nose, 0.3 * fat, -0.35 * fat, 0.25 * fat), (nose + 0.12 * length, 0.85 * fat, -0.85 * fat, 0.8 * fat)]
    stations += [(nose + 0.3 * length, fat, -fat, fat), (nose + 0.6 * length, 0.9 * fat, -0.8 * fat, 0.95 * fat), (nose + length, 0.15 * fat, 0.3 * fat, 0.75 * fat)]
    fuselage = hull(stations, power=2.2)
    high = draws.chance(0.4) and not jet
    at, level = nose + draws.uniform(0.3, 0.38) * length, (0.8 if high else -0.5) * fat
    rise = draws.uniform(0.0, 0.3)
    wings = both_sides(_wing(root, draws.uniform(0.35, 0.7) * root, span, sweep, 0.13, rise).at(0.0, at, level))
    tail = nose + 0.84 * length
    tail_planes = both_sides(_wing(0.45 * root, 0.3 * root, 0.36 * span, 0.2 + 0.2 * jet, 0.12).at(0, tail, 0.45 * fat))
    fin_height = draws.uniform(0.55, 0.95)
    fin = extrude([(tail - 0.25, 0.4 * fat), (tail + 0.25 + 0.2 * jet, fin_height + 0.3 * fat), (tail + 0.62 + 0.2 * jet, fin_height + 0.3 * fat), (tail + 0.56, 0.4 * fat)], 0.09, axis="x", bevel=0.02)
    parts = [
        part("fuselage", paint, fuselage),
        part("wings", wing_paint, *(wing for wing in wings)),
        part("tail planes", wing_paint, *tail_planes),
        part("fin", trim, fin),
    ]
    if jet:
        reach = 0.38
        engine = lathe([(0, 0.1), (0.12, 0.1), (0.17, 0), (0.2, 0.15), (0.18, 0.5), (0.1, 0.7), (0, 0.7)], 18).along("y")
        spot = (reach * span, at + reach * sweep - 0.2, level + reach * rise - 0.2)
        parts.append(part("engines", trim, *both_sides(engine.at(*spot))))
        parts.append(part("cockpit", GLASS, ellipsoid(0.62 * fat, 0.28, 0.36 * fat).at(0, nose + 0.1 * length, 0.5 * fat)))
        windows = both_sides(box(0.06, 0.42 * length, 0.16 * fat).at(0.97 * fat, nose + 0.42 * length, 0.3 * fat))
        parts.append(part("windows", GLASS, *windows))
    else:
        blades, size = draws.integer(2, 3), draws.uniform(0.5, 0.75)
        turn = draws.uniform(0, 360)
        propeller = [box(0.13, 0.05, size).at(z=size / 2).turned("x", 0).turned("y", turn + 360 * blade / blades).at(0, nose - 0.06 - 0.012 * blade, -0.05 * fat) for blade in range(blades)]
        parts.append(part("propeller", DARK_STEEL, *propeller))
        parts.append(part("spinner", trim, lathe([(0, -0.2), (0.07, -0.14), (0.11, 0), (0.1, 0.12), (0, 0.12)], 14).along("y").at(0, nose, -0.05 * fat)))
        parts.append(part("cockpit", GLASS, ellipsoid(0.72 * fat, 0.15 * length, 0.62 * fat).at(0, nose + 0.36 * length, 0.72 * fat)))
        tyres, hubs = wheels(0.16, 0.1, *((x, at + 0.1, -fat - 0.3) for x in (-0.5, 0.5)))
        struts = both_sides(tube([(0.15, at + 0.1, -0.6 * fat), (0.47, at + 0.1, -fat - 0.3)], 0.035))
        parts += [part("tyres", RUBBER, *tyres), part("hubs", STEEL, *hubs), part("struts", STEEL, *struts)]
    return parts


def helicopter(draws: Draws) -> list[Part]:
    paint, trim, rotor_colour = draws.palette(3)
    cabin, fat = draws.uniform(1.3, 2.0), draws.uniform(0.48, 0.68)
    boom, blades = draws.uniform(1.6, 2.4), draws.integer(2, 4)
    body = hull([(-cabin / 2, 0.3 * fat, -0.5 * fat, 0.1 * fat), (-0.2 * cabin, 0.9 * fat, -0.9 * fat, 0.8 * fat), (0.2 * cabin, fat, -0.9 * fat, fat), (0.62 * cabin, 0.35 * fat, -0.1 * fat, 0.7 * fat)])
    canopy = ellipsoid(0.78 * fat, 0.36 * cabin, 0.62 * fat).at(0, -0.3 * cabin, 0.1 * fat)
    end = 0.5 * cabin + boom
    tail = tube([(0, 0.4 * cabin, 0.35 * fat), (0, end, 0.5 * fat)], [0.28 * fat, 0.12 * fat], around=12)
    fin = extrude([(end - 0.3, 0.3 * fat), (end + 0.15, 0.5 * fat + 0.6), (end + 0.38, 0.5 * fat + 0.6), (end + 0.12, 0.2 * fat)], 0.07, axis="x", bevel=0.015)
    side = draws.choice((-1, 1))
    mast_top, reach = fat + draws.uniform(0.2, 0.4), draws.uniform(1.5, 2.1)
    turn = draws.uniform(0, 180)
    rotor = [box(reach, 0.16, 0.035).turned("x", 6).at(x=reach / 2 + 0.05).turned("z", turn + 360 * blade / blades).at(0, 0, mast_top + 0.006 * blade) for blade in range(blades)]
    tail_rotor = [box(0.03, 0.07, 0.75).turned("x", turn + 60 * blade).at(side * (0.13 + 0.01 * blade), end + 0.1, 0.5 * fat + 0.1) for blade in range(2)]
    low = -0.9 * fat - draws.uniform(0.2, 0.35)
    skid = tube([(0.8 * fat, -0.75 * cabin, low + 0.16), (0.8 * fat, -0.6 * cabin, low + 0.02), (0.8 * fat, -0.5 * cabin, low), (0.8 * fat, 0.6 * cabin, low)], 0.04)
    struts = [tube([(0.4 * fat, y, -0.6 * fat), (0.8 * fat, y, low)], 0.035) for y in (-0.25 * cabin, 0.3 * cabin)]
    parts = [
        part("body", paint, body),
        part("canopy", GLASS, canopy),
        part("tail", trim, tail),
        part("fin", trim, fin),
        part("mast", DARK_STEEL, cylinder(0.07, mast_top - 0.5 * fat, segments=14).at(z=(mast_top + 0.5 * fat) / 2), cylinder(0.15, 0.14).at(z=mast_top)),
        part("rotor", rotor_colour, *rotor, *tail_rotor),
        part("skids", DARK_STEEL, *both_sides(skid, *struts)),
        part("door", rotor_colour, box(0.1, 0.3 * cabin, 0.8 * fat).at(-side * 0.93 * fat, 0.14 * cabin, 0.05 * fat)),
    ]
    if draws.chance():
        parts.append(part("tail plane", rotor_colour, box(1.0, 0.26, 0.05).at(0, end - 0.4, 0.46 * fat)))
    return parts


def _bow_plan(length: float, beam: float, blunt: float) -> np.ndarray:
    """Deck outline (x, y): pointed bow at -y, flat stern."""
    half = spline([(0, -length / 2), (0.62 * beam / 2, -0.28 * length), (beam / 2, 0.05 * length), (blunt * beam / 2, length / 2)], 10)
    return np.concatenate([half, half[:0:-1] * (-1, 1)])


def boat(draws: Draws) -> list[Part]:
    """A sailing boat, a motor boat or a steamer with a funnel."""
    paint, deck_colour, upper_colour, trim = draws.palette(4)
    length, beam, deep = draws.uniform(2.6, 4.0), draws.uniform(0.9, 1.4), draws.uniform(0.45, 0.7)
    plan = _bow_plan(length, beam, draws.uniform(0.5, 0.9))
    rings = []
    for level, size in ((0.0, 0.45), (0.3, 0.75), (0.7, 0.94), (1.0, 1.0)):
        sheer = 0.22 * level * ((plan[:, 1] / length) ** 2 - plan[:, 1] / length)
        rings.append(np.column_stack([plan * (size, 0.8 + 0.2 * level), level * deep + sheer]))
    parts = [part("hull", paint, loft(np.array(rings)))]
    deck = np.column_stack([plan * 0.9, np.full(len(plan), deep)])
    sheer = 0.22 * ((plan[:, 1] / length) ** 2 - plan[:, 1] / length)
    deck[:, 2] += sheer
    parts.append(part("deck", deck_colour, loft(np.array([deck - (0, 0, 0.1), deck + (0, 0, 0.035)]))))
    style = draws.choice(("sail", "motor", "steamer"))
    if style == "sail":
        tall, step = draws.uniform(2.4, 3.6), -draws.uniform(0.05, 0.15) * length
        parts.append(part("mast", trim, tube([(0, step, deep - 0.1), (0, step, deep + tall)], 0.04), tube([(0, step, deep + 0.35), (0, 0.45 * length, deep + 0.35)], 0.03)))
        main = [(step + 0.06, deep + 0.4), (0.43 * length, deep + 0.4), (0.2 * length, deep + 0.5 * tall), (step + 0.06, deep + 0.97 * tall)]
        jib = [(step - 0.06, deep + 0.3), (-0.47 * length, deep + 0.3), (step - 0.06, deep + draws.uniform(0.6, 0.85) * tall)]
        parts.append(part("main sail", upper_colour, extrude(main, 0.045, axis="x", bevel=0.01)))
        parts.append(part("jib", deck_colour, extrude(jib, 0.035, axis="x", bevel=0.008)))
        parts.append(part("cabin", trim, box(0.5 * beam, 0.26 * length, 0.34, 0.06).at(0, 0.04 * length, deep + 0.08)))
        return parts
    cabin_length, tall = draws.uniform(0.28, 0.42) * length, draws.uniform(0.4, 0.6)
    at = draws.uniform(0.02, 0.14) * length
    cabin = box(0.62 * beam, cabin_length, tall, 0.05, taper=0.88).at(0, at, deep + tall / 2 - 0.02)
    parts.append(part("cabin", upper_colour, cabin))
    pane = box(0.6 * beam, 0.9 * cabin_length, 0.3 * tall).at(0, at - 0.07 * cabin_length, deep + 0.68 * tall)
    parts.append(part("windows", GLASS, pane))
    if style == "steamer":
        radius = draws.uniform(0.14, 0.22)
        funnel = cylinder(radius, 1.0, 0.85 * radius).turned("x", -10).at(0, at + 0.18 * cabin_length, deep + tall + 0.4)
        parts.append(part("funnel", trim, funnel))
        parts.append(part("bridge", upper_colour, box(0.5 * beam, 0.4 * cabin_length, 0.4, 0.04).at(0, at - 0.25 * cabin_length, deep + tall + 0.15)))
    else:
        parts.append(part("screen", GLASS, box(0.5 * beam, 0.05, 0.3).turned("x", -35).at(0, at - 0.5 * cabin_length, deep + tall)))
        parts.append(part("engine", trim, box(0.3, 0.3, 0.7, 0.06, taper=1.2).at(0, length / 2 + 0.02, 0.75 * deep)))
        parts.append(part("rail", trim, *both_sides(tube([(0.12 * beam, -0.4 * length, deep + 0.36), (0.32 * beam, -0.2 * length, deep + 0.38), (0.36 * beam, -0.1 * length, deep)], 0.025))))
    return parts


def train(draws: Draws) -> list[Part]:
    """A steam engine: boiler and funnel in front, the driver's cab behind."""
    paint, boiler_colour, trim, wheel_colour = draws.palette(4)
    length, radius, gauge = draws.uniform(2.2, 3.2), draws.uniform(0.38, 0.52), draws.uniform(0.75, 0.95)
    wheel, cab_length = draws.uniform(0.28, 0.4), draws.uniform(0.7, 1.0)
    floor, nose = 1.5 * wheel, -length / 2
    axis = floor + radius + 0.05
    back = nose + length
    boiler_end = back - cab_length
    boiler = lathe([(0, 0), (0.9 * radius, 0), (radius, 0.07), (radius, boiler_end - nose + 0.1), (0, boiler_end - nose + 0.1)], 24)
    bands = [torus(radius, 0.03).along("y").at(0, nose + share * (boiler_end - nose), axis) for share in (0.3, 0.55, 0.8)]
    stack, flare = draws.uniform(0.4, 0.75), draws.uniform(1.0, 2.0)
    funnel = lathe([(0, 0), (0.14, 0), (0.13, 0.5 * stack), (0.13 * flare, stack), (0.11, stack), (0.1, 0.3), (0, 0.3)]).at(0, nose + 0.25, axis + 0.9 * radius)
    dome = lathe([(0, 0), (0.18, 0), (0.18, 0.15), (0.14, 0.25), (0.06, 0.31), (0, 0.32)]).at(0, nose + 0.55 * (boiler_end - nose), axis + 0.88 * radius)
    wall, cab_top = 2 * gauge - 0.5, axis + radius + draws.uniform(0.25, 0.5)
    sides = both_sides(box(0.06, cab_length, cab_top - floor).at(wall / 2, back - cab_length / 2, (cab_top + floor) / 2))
    front = box(wall - 0.02, 0.06, cab_top - floor - 0.02).at(0, boiler_end + 0.05, (cab_top + floor) / 2)
    bunker = box(wall - 0.02, 0.1, 0.45 * (cab_top - floor)).at(0, back - 0.07, floor + 0.22 * (cab_top - floor))
    roof = box(wall + 0.24, cab_length + 0.3, 0.1).at(0, back - cab_length / 2 - 0.02, cab_top)
    windows = both_sides(box(0.05, 0.42 * cab_length, 0.35 * (cab_top - axis) + 0.1).at(wall / 2 + 0.02, back - cab_length / 2, cab_top - 0.3))
    count = draws.integer(2, 3)
    spots = [(x, nose + 0.4 + step * (length - 0.9) / (count - 1), wheel) for x in (-gauge / 2 - 0.02, gauge / 2 + 0.02) for step in range(count)]
    tyres, hubs = wheels(wheel, 0.12, *spots)
    rods = both_sides(box(0.05, length - 0.7, 0.07).at(gauge / 2 + 0.1, -0.02, wheel - 0.08))
    catcher = extrude([(nose - 0.45, 0.08), (nose, 0.08), (nose, floor - 0.08), (nose - 0.12, floor - 0.08)], 0.85 * gauge, axis="x", bevel=0.02)
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
    bars = [(crank, saddle), (neck, crank), (neck + 0.04 * (head - neck), join), (rear, crank), (rear, crank + 0.8 * (saddle - crank))]
    fork = both_sides(tube([front + (0.045, 0, 0), neck + (0.045, 0, 0)], 0.6 * thick))
    frame = [tube(bar, thick) for bar in bars]
    reach, sweep = draws.uniform(0.2, 0.32), draws.uniform(-0.1, 0.14)
    top = head + (0, -0.03, 0.07)
    bar = tube([top + (-reach, sweep, 0.03), top + (-0.4 * reach, 0, 0.02), top, top + (0.4 * reach, 0, 0.02), top + (reach, sweep, 0.03)], 0.018)
    grips = both_sides(tube([top + (reach - 0.06, 0.8 * sweep, 0.028), top + (reach, 1.0 * sweep, 0.03)], 0.028))
    spokes = []
    for centre, size, count in ((front, front_wheel, 5), (rear, wheel, 5)):
        spokes += [box(0.012, 0.016, 1.96 * size).turned("x", 180 * step / count).at(0.004 * step, centre[1], centre[2]) for step in range(count)]
    pedals = [
        tube([crank + (0.05, 0, 0), crank + (0.06, -0.1, -0.14), crank + (0.17, -0.1, -0.14)], 0.018),
        tube([crank - (0.05, 0, 0), crank + (-0.06, 0.1, 0.14), crank + (-0.17, 0.1, 0.14)], 0.018),
    ]
    seat = extrude([(-0.03, -0.17), (0.03, -0.17), (0.05, -0.02), (0.1, 0.1), (-0.1, 0.1), (-0.05, -0.02)], 0.07, bevel=0.02).at(*saddle)
    parts = [
        part("frame", paint, *frame, *fork, tube([neck, head + (0, -0.02, 0.06)], 0.9 * thick)),
        part("tyres", RUBBER, torus(front_wheel, 0.03, 28).along("x").at(*front), torus(wheel, 0.03, 28).along("x").at(*rear)),
        part("spokes", STEEL, *spokes),
        part("bar", STEEL, bar, *pedals),
        part("grips", saddle_colour, *grips),
        part("saddle", saddle_colour, seat),
        part("chain wheel", DARK_STEEL, cylinder(0.1, 0.03).along("x").at(crank[0] + 0.05, crank[1], crank[2])),
    ]
    if draws.chance(0.5):
        parts.append(part("basket", bag_colour, box(0.32, 0.24, 0.22, taper=1.2).at(0, head[1] - 0.2, head[2] - 0.04)))
    else:
        rack = [box(0.16, 0.36, 0.03).at(0, base / 2 + 0.02, 2 * wheel + 0.08), box(0.02, 0.02, wheel + 0.1).at(0.07, base / 2, 1.5 * wheel + 0.02)]
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
    rear_body = hull([(0.05, 0.5 * fat, floor - 0.05, seat_height - 0.12), (0.3 * base, fat, wheel + 0.02, seat_height - 0.02), (rear, fat, wheel + 0.06, seat_height - 0.02), (rear + 0.28, 0.25 * fat, wheel + 0.2, seat_height - 0.12)], 2.6)
    height = draws.uniform(0.92, 1.08)
    shield_at = front + 0.28
    shield = extrude(closed_spline([(-0.13, floor), (0.13, floor), (0.25, 0.55), (0.17, height - 0.12), (-0.17, height - 0.12), (-0.25, 0.55)], 24), 0.07, axis="y", bevel=0.02)
    shield = shield.turned("x", -12).at(0, shield_at - 0.16, 0.0)
    board = box(0.36, base / 2 - 0.1, 0.08).at(0, front + 0.16 + base / 4, floor - 0.04)
    column = tube([(0, front, wheel), (0, front + 0.12, height - 0.08), (0, front + 0.16, height)], 0.04)
    fender = ellipsoid(0.12, wheel + 0.12, wheel + 0.06).at(0, front + 0.02, wheel + 0.1).scaled(1, 1, 1)
    bar = tube([(-0.34, front + 0.26, height + 0.04), (-0.1, front + 0.15, height + 0.02), (0.1, front + 0.15, height + 0.02), (0.34, front + 0.26, height + 0.04)], 0.03)
    seat = hull([(0.1, 0.5 * fat, seat_height - 0.06, seat_height + 0.05), (0.3 * base, 0.9 * fat, seat_height - 0.07, seat_height + 0.06), (rear + 0.2, 0.7 * fat, seat_height - 0.06, seat_height + draws.uniform(0.06, 0.14))], 3)
    side = draws.choice((-1, 1))
    parts = [
        part("tyres", RUBBER, *tyres),
        part("hubs", STEEL, *hubs),
        part("body", paint, rear_body),
        part("shield", paint, shield, board),
        part("fender", trim, fender.at(z=-0.05)),
        part("column", STEEL, column, bar),
        part("seat", seat_colour, seat),
        part("lamp", (0.85, 0.84, 0.7), ellipsoid(0.09, 0.07, 0.09, 14).at(0, front + 0.08, height - 0.02)),
        part("exhaust", DARK_STEEL, tube([(side * (fat - 0.02), 0.2 * base, wheel), (side * (fat + 0.04), rear + 0.3, wheel + 0.06)], 0.055)),
    ]
    if draws.chance():
        parts.append(part("case", trim, box(0.34, 0.28, 0.28, 0.04, taper=0.9).at(0, rear + 0.3, seat_height + 0.16)))
    if draws.chance(0.4):
        parts.append(part("screen", GLASS, box(0.36, 0.03, 0.4).turned("x", -20).at(0, front + 0.05, height + 0.2)))
    return parts


def excavator(draws: Draws) -> list[Part]:
    """A digger on tracks: the arm reaches forwards beside the cab."""
    paint, cab_paint, bucket_colour = draws.palette(3)
    length, width, track = draws.uniform(1.8, 2.4), draws.uniform(1.4, 1.8), draws.uniform(0.45, 0.6)
    loop = rounded_rectangle(length, track, 0.48 * track, corner=5)
    tracks = both_sides(extrude(loop, 0.34, axis="x", bevel=0.04).at(width / 2, 0, track / 2))
    rollers = both_sides(*(cylinder(0.3 * track, 0.42, segments=14).along("x").at(width / 2, y, track / 2) for y in np.linspace(-0.32, 0.32, 3) * length))
    floor, side = track + 0.08, draws.choice((-1, 1))
    swing = draws.uniform(-35, 35)
    deck = box(width - 0.1, 0.9 * length, 0.25, 0.04).at(0, 0.1, floor + 0.12)
    engine = box(width - 0.14, 0.38 * length, 0.6, 0.08).at(0, 0.34 * length, floor + 0.5)
    cab_tall = draws.uniform(0.85, 1.1)
    cab_at = (side * (width / 2 - 0.4), -0.18 * length, floor + 0.22)
    pane = box(0.5, 0.62, 0.6 * cab_tall, 0.03).at(cab_at[0] + side * 0.08, cab_at[1] - 0.06, cab_at[2] + 0.56 * cab_tall)
    cab = box(0.58, 0.66, cab_tall, 0.05).at(cab_at[0], cab_at[1], cab_at[2] + cab_tall / 2 - 0.02)
    lift, first, second = np.radians(draws.uniform(35, 65)), draws.uniform(1.3, 1.8), draws.uniform(0.9, 1.3)
    drop = np.radians(draws.uniform(-75, -35))
    root = np.array([-side * 0.22, -0.25 * length, floor + 0.35])
    elbow = root + (0, -first * np.cos(lift), first * np.sin(lift))
    wrist = elbow + (0, -second * np.cos(drop), second * np.sin(drop))

    def beam(start: np.ndarray, end: np.ndarray, thick: float) -> Mesh:
        span = end - start
        angle = float(np.degrees(np.arctan2(span[2], -span[1])))
        bar = box(0.2, float(np.linalg.norm(span)) + 0.2, thick)
        return bar.turned("x", -angle).at(*((start + end) / 2))

    piston = tube([root + (0, -0.35, 0.05), (root + elbow) / 2 + (0, -0.12, -0.18)], 0.05)
    wide = draws.uniform(0.5, 0.75)
    scoop = [(0.2, 0.15), (0.28, -0.25), (0.05, -0.5), (-0.3, -0.48), (-0.1, -0.3), (-0.1, 0.1)]
    bucket = extrude(scoop, wide, axis="x", bevel=0.02).turned("x", draws.uniform(-30, 15)).at(wrist[0], wrist[1] + 0.02, wrist[2])
    upper = [
        part("deck", paint, deck.turned("z", swing), engine.turned("z", swing)),
        part("cab", cab_paint, cab.turned("z", swing)),
        part("panes", GLASS, pane.turned("z", swing)),
        part("arm", paint, beam(root, elbow, 0.3).turned("z", swing), beam(elbow, wrist, 0.22).turned("z", swing)),
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
    bonnet = extrude([(nose, level - 0.15), (nose - 0.05, level + bonnet_height - 0.1), (nose + 0.12, level + bonnet_height), (0.1, level + bonnet_height + 0.08), (0.1, level - 0.15)], 0.6, axis="x", bevel=0.06)
    grille = box(0.42, 0.1, 0.6 * bonnet_height).at(0, nose - 0.02, level + 0.45 * bonnet_height)
    frame = box(0.5, length - 0.3, 0.26).at(0, 0, level - 0.12)
    rear_tyres, rear_hubs = wheels(big, 0.4, (-width / 2, axle, big), (width / 2, axle, big))
    front_tyres, front_hubs = wheels(small, 0.26, (-0.42 * width, nose + 0.35, small), (0.42 * width, nose + 0.35, small))
    fenders = both_sides(extrude([(axle - big - 0.02, big + 0.05), (axle - 0.6 * big, 1.75 * big), (axle, 2.1 * big), (axle + 0.7 * big, 1.75 * big), (axle + 0.5 * big, 1.6 * big), (axle, 1.9 * big), (axle - 0.5 * big, 1.6 * big)], 0.4, axis="x").at(width / 2 - 0.12, 0, 0))
    pipe = tube([(0.16, nose + 0.55, level + bonnet_height - 0.1), (0.16, nose + 0.55, level + bonnet_height + draws.uniform(0.45, 0.7))], 0.05)
    axles = [cylinder(0.08, 0.9 * width, segments=12).along("x").at(0, nose + 0.35, small), cylinder(0.12, width, segments=12).along("x").at(0, axle, big)]
    parts = [
        part("bonnet", paint, bonnet),
        part("frame", DARK_STEEL, frame, grille),
        part("tyres", RUBBER, *rear_tyres, *front_tyres),
        part("hubs", hub_colour, *rear_hubs, *front_hubs),
        part("fenders", paint, *fenders),
        part("pipe", DARK_STEEL, pipe, *axles),
        part("lights", (0.85, 0.84, 0.7), *both_sides(ellipsoid(0.08, 0.06, 0.08, 12).at(0.24, nose - 0.03, level + 0.8 * bonnet_height))),
    ]
    cab_end = axle + 0.2
    if draws.chance():
        top = level + bonnet_height + draws.uniform(0.75, 0.95)
        side = [(0.16, level + 0.1), (0.22, top), (cab_end, top), (cab_end + 0.1, level + 0.1)]
        parts.append(part("cab", GLASS, extrude(side, 0.72, axis="x", bevel=0.05)))
        parts.append(part("roof", paint, box(0.9, cab_end - 0.1, 0.12, 0.03).at(0, (cab_end + 0.2) / 2, top)))
    else:
        seat = [box(0.46, 0.42, 0.12, 0.03).at(0, axle - 0.05, level + 0.42), box(0.44, 0.1, 0.42, 0.03).turned("x", -10).at(0, axle + 0.2, level + 0.62), box(0.3, 0.3, 0.4).at(0, axle, level + 0.2)]
        parts.append(part("seat", seat_colour, *seat))
        wheel = [torus(0.2, 0.025, 18).turned("x", 35).at(0, 0.3, level + bonnet_height + 0.22), tube([(0, 0, level + bonnet_height - 0.1), (0, 0.3, level + bonnet_height + 0.22)], 0.03)]
        parts.append(part("steering wheel", DARK_STEEL, *wheel))
    return parts


def skateboard(draws: Draws) -> list[Part]:
    """The pointed nose is the front; the tail kicks up higher."""
    deck_colour, grip_colour, wheel_colour, stripe_colour = draws.palette(4)
    length, width = draws.uniform(1.5, 2.1), draws.uniform(0.4, 0.55)
    kick, nose_kick = draws.uniform(0.16, 0.34), draws.uniform(0.02, 0.12)
    point, level = draws.uniform(0.25, 0.6), draws.uniform(0.24, 0.32)
    half = [(0.0, -0.5), (0.5 * point, -0.47), (0.8 * point + 0.1, -0.38), (0.5, -0.2), (0.5, 0.36), (0.42, 0.46), (0.2, 0.5), (0.0, 0.502)]
    edge = spline(half, 22) * (width, length)

    def sheet(low: float, high: float, share: float) -> Mesh:
        """The bent board between two levels, its outline scaled by `share`; lofted from nose to tail."""
        x, y = np.maximum(edge[:, 0], 0.02 * width) * share, edge[:, 1] * (0.5 + 0.5 * share)
        tail, front = np.clip(y / length - 0.3, 0, None) / 0.2, np.clip(-y / length - 0.33, 0, None) / 0.17
        z = kick * tail**1.5 + nose_kick * front**1.5
        corners = [(x, low), (x, high), (-x, high), (-x, low)]
        return loft(np.stack([np.stack([side, y, z + height], axis=1) for side, height in corners], axis=1)).at(z=level)

    trucks, axle_at = [], 0.3 * length
    for y in (-axle_at, axle_at):
        trucks.append(box(0.16, 0.2, level - 0.1, taper=1.2).at(0, y, level / 2 + 0.04))
        trucks.append(box(width, 0.06, 0.06).at(0, y, 0.12))
    radius = draws.uniform(0.09, 0.13)
    tyres, hubs = wheels(radius, 0.13, *((x, y, radius) for x in (-width / 2, width / 2) for y in (-axle_at, axle_at)))
    stripe_at, stripe_size = draws.uniform(-0.26, -0.1) * length, draws.uniform(0.06, 0.16) * length
    return [
        part("deck", deck_colour, sheet(-0.03, 0.02, 1.0)),
        part("grip", grip_colour, sheet(0.0, 0.032, 0.9)),
        part("stripe", stripe_colour, box(0.8 * width, stripe_size, 0.06).at(0, stripe_at, level + 0.015), box(0.14 * width, 0.36 * length, 0.05).at(0.2 * width, stripe_at + 0.24 * length, level + 0.017)),
        part("trucks", STEEL, *trucks),
        part("wheels", wheel_colour, *tyres),
        part("hubs", DARK_STEEL, *hubs),
    ]
