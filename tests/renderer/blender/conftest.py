"""One worker per Blender and test module: starting one costs a second or two."""

import pytest

from tests.needs import needs_blender, needs_bpy, needs_bpy5
from tests.renderer.blender.helpers import Worker

BLENDERS = [
    pytest.param("bpy", marks=needs_bpy),
    pytest.param("blender", marks=needs_blender),
    pytest.param("bpy5", marks=[needs_bpy5, pytest.mark.slow]),
]


@pytest.fixture(scope="module", params=BLENDERS)
def blender(request):
    """Which Blender the tests of a module run in."""
    return request.param


@pytest.fixture(scope="module")
def worker(blender, tmp_path_factory):
    with Worker(blender, tmp_path_factory.mktemp(blender)) as started:
        yield started
