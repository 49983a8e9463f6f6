"""All figures and tables of the paper that gr3d makes as studies. A new one is a file in paper/ and a line here."""

from __future__ import annotations

from benchmark.errors import UserError
from benchmark.figures.figure2 import SCALES as OF_2
from benchmark.figures.figure7 import SCALES as OF_7
from benchmark.figures.paper import (
    classes,
    corruptions,
    epochs,
    hyperparameters,
    methods,
    optimisation,
    positives,
    tasks,
)
from benchmark.figures.scales import SCALES, Setting
from benchmark.figures.study import Figure

FIGURES: dict[str, Figure] = {
    **methods.FIGURES,
    **classes.FIGURES,
    **tasks.FIGURES,
    **epochs.FIGURES,
    **corruptions.FIGURES,
    **optimisation.FIGURES,
    **hyperparameters.FIGURES,
    **positives.FIGURES,
}

#: Names that the paper has and this catalog has not, and where they are.
ELSEWHERE = {
    "2": "latents per layer, from renders: its own scales and options",
    "7": "samples of diffusion models given one layer, and a number for what it keeps",
    "8": "one object, one latent a row (gr3d samples --objects draws the same): seconds on 2 CPU cores",
}

_SCALED = {"2": OF_2, "7": OF_7}


def listed() -> list[str]:
    """A line for every name, in the paper's order."""
    lines = []
    for name in sorted({*FIGURES, *ELSEWHERE}, key=_order):
        if name in _SCALED:
            lines.append(f"{name}: {ELSEWHERE[name]}")
            lines += [f"{name} --scale {known}: {scale.takes}" for known, scale in _SCALED[name].items()]
        elif name in ELSEWHERE:
            lines.append(f"{name}: {ELSEWHERE[name]}")
        else:
            lines.append(f"{name}: {FIGURES[name].title}{_sharing(name)}")
    return [*lines, *(f"the others --scale {name}: {scale.takes}" for name, scale in SCALES.items())]


def _sharing(name: str) -> str:
    others = [other for other in FIGURES if FIGURES[other].shares == FIGURES[name].shares and other != name]
    return f" (same runs as {', '.join(others)})" if others else ""


def _order(name: str) -> tuple[int, str]:
    digits = "".join(filter(str.isdigit, name))
    return (99 if name.startswith("table") else int(digits), name)


def find(name: str | None, scale: str) -> Figure:
    """UserError (wrong usage) for a name or scale that is not there."""
    if name in ELSEWHERE and name not in FIGURES:
        raise UserError(f"figure {name}: {ELSEWHERE[name]}", exit_code=2)
    if name not in FIGURES:
        known = ", ".join(sorted({*FIGURES, *ELSEWHERE}, key=_order))
        asked = "give its name" if name is None else f"{name}: not one of the figures that gr3d draws"
        raise UserError(f"figure {asked} ({known}); see gr3d figure --list", exit_code=2)
    if scale not in SCALES:
        raise UserError(f"--scale {scale}: figure {name} has {', '.join(SCALES)}", exit_code=2)
    return FIGURES[name]


def folder_name(name: str, figure: Figure, setting: Setting) -> str:
    """Of the folder that is made without --out: figures that share their runs share it; other data and tasks have their
    own."""
    import re

    given = [text for text in (setting.data, *setting.tasks) if text]
    own = [re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-").lower() for text in given]
    return "-".join([figure.shares, setting.name, *own])
