"""Wall times over several sittings."""

import json

import pytest

from benchmark.errors import UserError
from benchmark.figures.clock import Clock


def test_clock_adds_up_over_runs(tmp_path):
    for _ in range(2):
        clock = Clock(tmp_path / "steps.json")
        clock.note("a", 2.0)
        with clock.step("work"):
            pass
    assert json.loads((tmp_path / "steps.json").read_text())["jobs"] == {"a": 4.0}
    (tmp_path / "steps.json").write_text("{")
    with pytest.raises(UserError, match=r"steps\.json"):
        Clock(tmp_path / "steps.json")
