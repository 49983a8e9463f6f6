"""The import rules of docs/architecture.md, read off every import statement in the tree."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = {"assets", "renderer", "benchmark"}
BLENDER = {"bpy", "mathutils", "bmesh", "gpu", "_cycles", "zstandard"}
SOURCES = sorted(
    path for name in OURS for path in (ROOT / name).rglob("*.py") if ROOT / "assets" / "models" not in path.parents
)


def imported(path: Path) -> set[str]:
    """Top-level names of all modules that the file imports, at any depth of nesting."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module.partition(".")[0])
    return names


def allowed(path: Path) -> set[str] | None:
    """Modules that the file may import; None where only our own packages are restricted."""
    package, *rest = path.relative_to(ROOT).parts
    base = set(sys.stdlib_module_names) | {"numpy"}
    if package == "assets":
        return base | {"assets"}
    if package == "renderer":
        further = {"blender": BLENDER, "slurm.py": {"submitit"}}  # which never runs inside Blender
        return base | {"assets", "renderer"} | further.get(rest[0], set())
    return None


def test_there_is_something_to_check():
    assert len(SOURCES) > 20


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_follow_the_rules(path):
    names, may = imported(path), allowed(path)
    if may is not None:
        assert names <= may, f"imports {names - may}"
    elif path != ROOT / "benchmark" / "cli.py":
        assert not names & (OURS - {"benchmark"} | BLENDER)


def test_submitit_is_imported_lazily():
    """The options of renderer/slurm.py are part of a parser that runs where submitit is not installed."""
    module = ast.parse((ROOT / "renderer" / "slurm.py").read_text())
    names = {alias.name for node in module.body if isinstance(node, ast.Import) for alias in node.names}
    assert "sys" in names and "submitit" not in names


@pytest.mark.parametrize("path", sorted((ROOT / "renderer").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_only_one_module_knows_of_blender_versions(path):
    asked = re.search(r"\bapp\.version\b", path.read_text())
    assert not asked or path.name == "compat.py", "what differs between versions stands in renderer/blender/compat.py"
