"""What the modules that hold commands share."""

from collections.abc import Callable
from pathlib import Path

import click

Folder = click.Path(path_type=Path, file_okay=False)

#: What bare commands read and write, in the folder they are called in.
DATA, RUNS = Path("data/gr3d"), Path("runs")
REGRESSION, PROBE = RUNS / "regression", RUNS / "probe"


def with_example(text: str) -> Callable:
    """Give a command an example at the end of its help, kept as it is typed."""

    def decorate(command: click.Command) -> click.Command:
        command.epilog = "\b\nExample:\n  " + text
        return command

    return decorate
