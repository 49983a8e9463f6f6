"""When an object is blamed for dead workers, and how memory over a long run is kept small."""

import itertools

from renderer.health import DEATHS_ALLOWED, DEATHS_OF_ONE_OBJECT, HANGS_ALLOWED, Blame, Memory


def test_deaths_at_the_same_step_are_the_objects_fault():
    blame = Blame()
    assert [blame.died("chair", None) for _ in range(DEATHS_ALLOWED)] == [None] * (DEATHS_ALLOWED - 1) + [
        DEATHS_ALLOWED
    ]


def test_deaths_at_random_moments_are_not_until_there_are_many():
    blame = Blame()
    verdicts = [blame.died("chair", step) for step in range(DEATHS_OF_ONE_OBJECT)]
    assert verdicts == [None] * (DEATHS_OF_ONE_OBJECT - 1) + [DEATHS_OF_ONE_OBJECT]
    assert blame.died("car", 0) is None


def test_hangs_are_counted_apart():
    blame = Blame()
    blame.died("chair", None)
    assert [blame.hung("chair") for _ in range(HANGS_ALLOWED)] == [None] * (HANGS_ALLOWED - 1) + [HANGS_ALLOWED]


def test_series_of_memory_stays_short_and_spans_the_run():
    memory = Memory()
    for visit in range(5000):
        memory.add(20 * visit, 300 + visit % 7, 2.0 * visit)
    frames = [point[0] for point in memory.series]
    assert Memory.POINTS / 4 < len(frames) <= Memory.POINTS
    assert frames[0] == 0 and frames[-1] > 0.9 * 20 * 4999
    steps = {later - earlier for earlier, later in itertools.pairwise(frames)}
    assert len(steps) == 1  # evenly spread
    assert memory.max_mb == 306
