"""Categories that the user gives for the objects of a folder, in a csv file.

Its first line names its columns: `category`, and either `path` (of the model below the folder, "/" between folders; for
a model in a zip that of the zip, or "a.zip!inner/model.dae") or `uid` (the file's name without its ending, as in
Objaverse's annotations). Objects that it does not name keep the category of their folder.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from assets.catalog import ObjectRef
from assets.errors import UserError

_KEYS = ("path", "uid")
_FORMAT = "its first line must name the columns 'category' and 'path' or 'uid'"


def categorised(objects: Iterable[ObjectRef], root: Path, file: Path) -> list[ObjectRef]:
    """The objects of the folder `root` with the categories that `file` gives them; their ids stay.

    Raises UserError (exit code 2), naming the line, for a file that cannot be read, other columns, a row without a
    category, two categories for one name, and a path that `root` does not hold. A list of uids may hold more than the
    folder does, as long as it names any of its objects.
    """
    objects = list(objects)
    key, rows = _read(file)
    below = len(root.absolute().as_posix()) + 1
    names_of = {ref.id: _names(key, ref.path[below:]) for ref in objects}
    known = {name for names in names_of.values() for name in names}
    if key == "path":
        for name, (_, line) in rows.items():
            # What the source left out (a twin, a .skp) is there all the same.
            if name not in known and not (root / name.partition("!")[0]).exists():
                raise _refusal(file, f"{root} holds no {name!r}", line)
    elif known.isdisjoint(rows):
        raise _refusal(file, f"none of its {len(rows)} uids is the name of a model in {root}")
    return [
        replace(ref, category=next((rows[name][0] for name in names_of[ref.id] if name in rows), ref.category))
        for ref in objects
    ]


def _names(key: str, address: str) -> tuple[str, ...]:
    """What may stand in the csv for the object at `address` (below the folder), most exact first."""
    if key == "path":
        return (address, address.partition("!")[0])
    return tuple(dict.fromkeys(PurePosixPath(part).stem for part in reversed(address.split("!"))))


def _read(file: Path) -> tuple[str, dict[str, tuple[str, int]]]:
    """The column that names objects, and name -> (category, line)."""
    try:
        with open(file, encoding="utf-8-sig", newline="") as opened:
            reader = csv.reader(opened, strict=True)
            columns = [column.strip().lower() for column in next(reader, [])]
            lines = [(reader.line_num, row) for row in reader if row]
    except OSError as error:
        raise _refusal(file, f"cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise _refusal(file, f"not a csv file in UTF-8 ({error})") from None
    key = _key_column(file, columns)
    rows: dict[str, tuple[str, int]] = {}
    for line, row in lines:
        if len(row) != len(columns):
            raise _refusal(file, f"{len(row)} values for {len(columns)} columns", line)
        values = dict(zip(columns, (value.strip() for value in row), strict=True))
        name, category = _plain(values[key]) if key == "path" else values[key], values["category"]
        if not name or not category:
            raise _refusal(file, f"no {'category' if name else key}", line)
        if rows.setdefault(name, (category, line))[0] != category:
            raise _refusal(file, f"a second category for {name!r}", line)
    return key, rows


def _key_column(file: Path, columns: list[str]) -> str:
    if unknown := [column for column in columns if column not in (*_KEYS, "category")]:
        raise _refusal(file, f"unknown column {unknown[0]!r}; {_FORMAT}", 1)
    keys = [column for column in columns if column in _KEYS]
    if columns.count("category") != 1 or len(keys) != 1:
        raise _refusal(file, _FORMAT, 1)
    return keys[0]


def _plain(path: str) -> str:
    """A path as the catalog writes it: "./a\\b.obj" is a/b.obj."""
    return str(PurePosixPath(path.replace("\\", "/"))) if path else ""


def _refusal(file: Path, why: str, line: int | None = None) -> UserError:
    return UserError(f"--categories {file}{f', line {line}' if line else ''}: {why}", exit_code=2)
