"""Furniture. Fronts face -y: the side one sits down from, opens or works at."""

import numpy as np

from assets.geometry import Part
from assets.procedural.draws import CREAM, DARK_STEEL, Draws
from assets.procedural.shapes import (
    Mesh,
    both_sides,
    box,
    cylinder,
    extrude,
    lathe,
    part,
    rounded_rectangle,
    tube,
)


def chair(draws: Draws) -> list[Part]:
    seat_colour, frame_colour, back_colour = draws.palette(3)
    width, depth, height = draws.uniform(0.42, 0.62), draws.uniform(0.42, 0.56), draws.uniform(0.36, 0.55)
    back, lean = draws.uniform(0.35, 0.75), draws.uniform(0.02, 0.16)
    thick, leg = draws.uniform(0.04, 0.09), draws.uniform(0.016, 0.032)
    splay, rounding = draws.uniform(0.0, 0.06), draws.uniform(0.05, 0.22)
    x, y = width / 2 - 1.5 * leg, depth / 2 - 1.5 * leg
    feet = [((x, side * y, height), (x + splay, side * (y + splay), 0)) for side in (-1, 1)]
    posts = tube([(x, y, height - 0.03), (x, y + lean, height + back)], leg)
    frame = [*(tube(line, [leg, 0.7 * leg]) for line in feet), posts]
    if draws.chance():
        frame.append(tube([(x + 0.4 * splay, -y, 0.3 * height), (x + 0.4 * splay, y, 0.3 * height)], 0.6 * leg))
    arms = draws.chance(0.35)
    if arms:
        rest = height + draws.uniform(0.18, 0.26)
        frame.append(tube([(x, -0.8 * y, height), (x, -0.8 * y, rest), (x, y + 0.3 * lean, rest)], 0.9 * leg))
    seat = extrude(rounded_rectangle(width, depth, rounding * width), thick, bevel=0.3 * thick).at(z=height)
    parts = [part("seat", seat_colour, seat), part("frame", frame_colour, *both_sides(*frame))]
    parts.append(part("back", back_colour, *_chair_back(draws, 2 * x, y, height, back, lean)))
    if draws.chance(0.3):
        cushion = box(0.78 * width, 0.74 * depth, 0.07, 0.025).at(y=-0.03, z=height + thick / 2 + 0.025)
        parts.append(part("cushion", draws.palette(1, seat_colour, frame_colour, back_colour)[0], cushion))
    return parts


def _chair_back(draws: Draws, width: float, y: float, height: float, back: float, lean: float) -> list[Mesh]:
    """A panel, rails or bars between two leaning posts."""
    style = draws.choice(("panel", "rails", "bars"))
    angle = -float(np.degrees(np.arctan2(lean, back)))

    def board(x: float, size: float, centre: float) -> Mesh:
        return box(x, 0.03, size).turned("x", angle).at(y=y + lean * centre / back, z=height + centre)

    if style == "panel":
        low = draws.uniform(0.08, 0.4) * back
        return [board(width, back - low, (back + low) / 2)]
    if style == "rails":
        count = draws.integer(2, 4)
        size = 0.55 * back / count
        return [board(width, size, back * (0.3 + 0.66 * step / (count - 1)) - size / 3) for step in range(count)]
    count = draws.integer(3, 6)
    places = np.linspace(-width / 2, width / 2, count + 2)[1:-1]
    upright = [board(0.035, back, 0.48 * back).at(x=place) for place in places]
    return [*upright, board(width, 0.14 * back, 0.93 * back).at(y=-0.006)]


def sofa(draws: Draws) -> list[Part]:
    body_colour, cushion_colour, leg_colour, pillow_colour = draws.palette(4)
    width, depth = draws.uniform(1.1, 2.3), draws.uniform(0.75, 1.0)
    seat, back = draws.uniform(0.32, 0.45), draws.uniform(0.68, 1.0)
    arm_width, arm_height = draws.uniform(0.1, 0.26), draws.uniform(0.46, 0.66)
    leg, soft = draws.uniform(0.06, 0.16), draws.uniform(0.02, 0.06)
    arm_depth = depth * draws.uniform(0.8, 1.04)
    base = box(width, depth, seat - leg - 0.1, 0.02).at(z=(seat + leg - 0.1) / 2)
    lean = draws.uniform(0, 12)
    rest = box(width - 0.02, 0.24, back - leg, soft).turned("x", -lean).at(y=depth / 2 - 0.1, z=(back + leg) / 2 + 0.01)
    arm = box(arm_width, arm_depth, arm_height - leg, soft).at(
        width / 2, (depth - arm_depth) / 2 - 0.006, (arm_height + leg) / 2 + 0.006
    )
    count = draws.integer(1, 3)
    inner = width - arm_width
    places = (np.arange(count) + 0.5) / count * inner - inner / 2
    cushions = [box(inner / count - 0.015, depth - 0.2, 0.17, soft).at(x, -0.11, seat - 0.05) for x in places]
    cushions += [
        box(inner / count - 0.02, 0.16, 0.8 * (back - seat), soft)
        .turned("x", -lean - 6)
        .at(x, 0.5 * depth - 0.27, (seat + back) / 2)
        for x in places
    ]
    x, y = width / 2 - 0.08, depth / 2 - 0.08
    legs = [cylinder(0.02, leg + 0.04, 0.035, segments=12).at(x, side * y, (leg + 0.04) / 2) for side in (-1, 1)]
    side = draws.choice((-1, 1))
    pillow = (
        box(0.36, 0.12, 0.34, 0.05)
        .turned("x", -24)
        .turned("z", 12 * side)
        .at(side * (inner / 2 - 0.22), 0.5 * depth - 0.42, seat + 0.19)
    )
    parts = [
        part("body", body_colour, base, rest),
        part("arms", body_colour, *both_sides(arm)),
        part("cushions", cushion_colour, *cushions),
        part("legs", leg_colour, *both_sides(*legs)),
        part("pillow", pillow_colour, pillow),
    ]
    if draws.chance(0.3):  # a corner sofa: one side reaches forward
        reach = draws.uniform(0.4, 0.8)
        wing = box(inner / 2, reach + 0.1, seat - leg, soft).at(
            -side * inner / 4, -(depth + reach) / 2, (seat + leg) / 2 - 0.012
        )
        parts.append(part("wing", cushion_colour, wing))
    return parts


def table(draws: Draws) -> list[Part]:
    """A table with a drawer under its front edge and a shelf on one side."""
    top_colour, leg_colour, drawer_colour = draws.palette(3)
    width, depth, height = draws.uniform(0.9, 1.7), draws.uniform(0.65, 0.95), draws.uniform(0.45, 0.85)
    thick, leg = draws.uniform(0.035, 0.08), draws.uniform(0.03, 0.06)
    side = draws.choice((-1, 1))
    corner = draws.choice((0.02, 0.12, 0.28))
    top = extrude(rounded_rectangle(width, depth, corner), thick, bevel=0.25 * thick).at(z=height)
    x, y = width / 2 - 0.1 - corner / 4, depth / 2 - 0.1 - corner / 4
    splay = draws.uniform(0, 0.1)
    ends = [((x, at, height - 0.8 * leg), (x + splay, at + np.sign(at) * splay, 0)) for at in (-y, y)]
    legs = both_sides(*(tube(line, [leg, draws.uniform(0.5, 1.0) * leg]) for line in ends))
    drawer_width, drawer_height = draws.uniform(0.4, 0.6) * width, draws.uniform(0.13, 0.2)
    open_by = draws.uniform(0.02, 0.2)
    centre = side * (x - 0.05 - drawer_width / 2)
    drawer = box(drawer_width, 0.7 * depth, drawer_height).at(
        centre, -0.15 * depth - open_by, height - drawer_height / 2
    )
    knob_at = -0.5 * depth - open_by - 0.02
    knob = (
        lathe([(0, 0), (0.014, 0), (0.03, 0.04), (0, 0.055)], 12)
        .turned("x", 90)
        .at(centre, knob_at + 0.03, height - drawer_height / 2)
    )
    shelf_height = draws.uniform(0.25, 0.45) * height
    shelf = box(0.4 * width, 2 * y, 0.04).at(-side * (x - 0.2 * width), 0, shelf_height)
    parts = [
        part("top", top_colour, top),
        part("legs", leg_colour, *legs),
        part("drawer", drawer_colour, drawer),
        part("knob", leg_colour, knob),
        part("shelf", top_colour, shelf),
    ]
    if draws.chance(0.6):
        book_colour = draws.palette(1, top_colour, leg_colour)[0]
        book = box(0.22, 0.3, draws.uniform(0.05, 0.16)).turned("z", draws.uniform(-20, 20))
        parts.append(part("books", book_colour, book.at(-side * (x - 0.2), 0.1 * y, height + thick / 2 + 0.03)))
    return parts


def desk(draws: Draws) -> list[Part]:
    """A writing desk with drawers on one side and a screen or a hutch at the back."""
    top_colour, body_colour, front_colour, screen_colour = draws.palette(4)
    width, depth, height = draws.uniform(1.1, 1.7), draws.uniform(0.6, 0.8), draws.uniform(0.68, 0.8)
    side, count = draws.choice((-1, 1)), draws.integer(2, 4)
    chest = draws.uniform(0.35, 0.5)
    top = box(width, depth, 0.05).at(z=height)
    centre = side * (width / 2 - chest / 2 - 0.03)
    pedestal = box(chest, depth - 0.06, height - 0.05).at(centre, 0.01, (height - 0.05) / 2 + 0.03)
    far = box(0.05, depth - 0.08, height - 0.01).at(-side * (width / 2 - 0.06), 0.01, (height - 0.01) / 2)
    modesty = box(width - 0.2, 0.03, 0.5 * height).at(0, depth / 2 - 0.1, 0.68 * height)
    pitch = (height - 0.12) / count
    heights = [0.08 + pitch * (step + 0.5) for step in range(count)]
    fronts = [box(chest - 0.05, 0.06, pitch - 0.03).at(centre, -depth / 2 + 0.03, at) for at in heights]
    grips = [box(0.4 * chest, 0.05, 0.03).at(centre, -depth / 2 - 0.01, at) for at in heights]
    parts = [
        part("top", top_colour, top),
        part("body", body_colour, pedestal, far, modesty),
        part("drawers", front_colour, *fronts),
        part("grips", DARK_STEEL, *grips),
    ]
    if draws.chance():
        screen, raised = draws.uniform(0.45, 0.75), draws.uniform(0.08, 0.14)
        size = 0.6 * screen
        at = draws.uniform(-0.2, 0.2)
        stand = [box(0.26, 0.18, 0.03), box(0.05, 0.04, raised + 0.2).at(y=0.03, z=raised / 2 + 0.08)]
        parts.append(part("stand", DARK_STEEL, *(mesh.at(at, 0.1, height + 0.035) for mesh in stand)))
        bezel = box(screen, 0.05, size).at(at, 0.08, height + raised + size / 2)
        parts.append(part("bezel", body_colour, bezel))
        parts.append(
            part(
                "screen", screen_colour, box(screen - 0.06, 0.03, size - 0.06).at(at, 0.056, height + raised + size / 2)
            )
        )
    else:
        tall = draws.uniform(0.3, 0.5)
        boards = [box(width - 0.08, 0.22, 0.03).at(0, depth / 2 - 0.13, height + tall)]
        boards += [
            box(0.03, 0.2, tall).at(x, depth / 2 - 0.13, height + tall / 2 + 0.01)
            for x in (-width / 2 + 0.07, side * 0.15, width / 2 - 0.07)
        ]
        parts.append(part("hutch", screen_colour, *boards))
    return parts


def bed(draws: Draws) -> list[Part]:
    """The foot end is the front; one corner of the blanket is turned back."""
    frame_colour, blanket_colour, pillow_colour = draws.palette(3)
    width, length = draws.uniform(0.9, 1.8), draws.uniform(1.6, 2.0)
    raised, head, foot = draws.uniform(0.25, 0.4), draws.uniform(1.0, 1.5), draws.uniform(0.02, 0.14)
    frame = [
        box(width, length, 0.16).at(z=raised),
        box(width + 0.06, 0.07, head).at(0, length / 2, head / 2),
        box(width + 0.06, 0.06, raised + foot).at(0, -length / 2, (raised + foot) / 2),
    ]
    mattress = box(width - 0.06, length - 0.12, 0.24, 0.05).at(z=raised + 0.14)
    cover = draws.uniform(0.55, 0.72) * length
    blanket = box(width - 0.01, cover, 0.26, 0.055).at(0, -length / 2 + 0.05 + cover / 2, raised + 0.165)
    count = 2 if width > 1.3 else 1
    places = (np.arange(count) + 0.5) / count * (width - 0.1) - (width - 0.1) / 2
    pillows = [
        box(0.85 * (width - 0.1) / count, 0.4, 0.15, 0.05).turned("x", 18).at(x, length / 2 - 0.32, raised + 0.35)
        for x in places
    ]
    side = draws.choice((-1, 1))
    flap = box(0.3 * width, 0.34, 0.06, 0.02).turned("z", 20 * side)
    flap_at = (side * 0.32 * width, -length / 2 + cover - 0.1, raised + 0.31)
    parts = [
        part("frame", frame_colour, *frame),
        part("mattress", CREAM, mattress),
        part("blanket", blanket_colour, blanket),
        part("pillows", pillow_colour, *pillows),
        part("flap", pillow_colour, flap.at(*flap_at)),
    ]
    if draws.chance(0.6):
        posts = both_sides(
            *(
                cylinder(0.045, tall, segments=12).at(width / 2 + 0.02, y, tall / 2)
                for y, tall in ((length / 2, head + 0.12), (-length / 2, raised + foot + 0.1))
            )
        )
        parts.append(part("posts", draws.palette(1, frame_colour, blanket_colour)[0], *posts))
    return parts


def lamp(draws: Draws) -> list[Part]:
    """A desk lamp: two arms, a shade that looks down and forwards, a switch on the base."""
    shade_colour, arm_colour, base_colour = draws.palette(3)
    lower, upper = draws.uniform(0.35, 0.6), draws.uniform(0.3, 0.55)
    back, forward = np.radians(draws.uniform(5, 35)), np.radians(draws.uniform(20, 60))
    base_radius, base_height = draws.uniform(0.15, 0.24), draws.uniform(0.03, 0.08)
    elbow = np.array([0, np.sin(back) * lower, np.cos(back) * lower + base_height])
    tip = elbow + (0, -np.cos(forward) * upper, np.sin(forward) * upper)
    rod = draws.uniform(0.012, 0.025)
    arms = [tube([(0, 0, base_height - 0.02), elbow], rod), tube([elbow, tip], rod)]
    joints = [cylinder(2.2 * rod, 3.4 * rod, segments=14).along("x").at(*place) for place in (elbow, tip)]
    wide, tall, neck = draws.uniform(0.13, 0.22), draws.uniform(0.18, 0.3), draws.uniform(0.03, 0.07)
    thin = 0.012
    bell = [
        (0, 0),
        (neck, 0),
        (wide * draws.uniform(0.6, 1.0), -0.55 * tall),
        (wide, -tall),
        (wide - thin, -tall),
        (neck, -0.3 * tall),
        (0, -0.3 * tall),
    ]
    tilt = draws.uniform(-60, -25)
    shade = lathe(bell, 24).turned("x", tilt).at(*tip)
    bulb = lathe(
        [(0, -0.85 * tall), (0.05, -0.8 * tall), (0.06, -0.68 * tall), (0.02, -0.26 * tall), (0, -0.26 * tall)], 14
    )
    if draws.chance():
        base = cylinder(base_radius, base_height, 0.8 * base_radius, segments=24).at(z=base_height / 2)
    else:
        base = lathe(
            [
                (0, 0),
                (base_radius, 0),
                (0.9 * base_radius, 0.4 * base_height),
                (0.3 * base_radius, base_height),
                (0, base_height),
            ],
            24,
        )
    return [
        part("base", base_colour, base),
        part("arms", arm_colour, *arms),
        part("joints", base_colour, *joints),
        part("shade", shade_colour, shade),
        part("bulb", CREAM, bulb.turned("x", tilt).at(*tip)),
        part("switch", shade_colour, box(0.05, 0.07, 0.05).at(0.45 * base_radius, -0.5 * base_radius, base_height)),
    ]
