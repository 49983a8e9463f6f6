"""The worker as a process: the same bytes whatever came before, flat memory, and an end when its input ends."""

import time
from pathlib import Path

from assets.catalog import ObjectRef
from renderer.latents import sample_latents
from tests.renderer.blender.helpers import REST, Worker, grass, marked_cube, white_box


def procedural(number: int) -> ObjectRef:
    from assets.procedural import procedural_objects

    return list(procedural_objects(("chair", "mug"), instances=2))[number]


def test_bytes_do_not_depend_on_what_was_rendered_before(blender, tmp_path):
    objects = [marked_cube(tmp_path / "cube.obj"), grass(tmp_path / "grass.obj"), procedural(0), procedural(3)]
    samples = {o: {10 * o + k: sample_latents(0, 10 * o + k) for k in range(2)} for o in range(len(objects))}
    seen = []
    for run, order in enumerate(([0, 1, 2, 3], [3, 2, 1, 0], [2])):
        with Worker(blender, tmp_path / str(run), format="jpg", resolution=32) as worker:
            for o in order:
                backwards = dict(reversed(samples[o].items())) if run == 1 else samples[o]
                assert worker.visit(objects[o], backwards)[-1]["event"] == "visit_done"
        seen.append({path.name: path.read_bytes() for path in worker.spool.iterdir()})
    assert len(seen[0]) == 8
    assert seen[0] == seen[1]
    assert seen[2].items() <= seen[0].items()


def test_events_of_a_visit(worker, tmp_path):
    events = worker.visit(white_box(tmp_path / "box.obj"), {3: REST, 4: REST})
    assert [event["event"] for event in events] == ["loaded", "rendered", "rendered", "visit_done"]
    assert [event.get("index") for event in events] == [None, 3, 4, None]
    assert all(event["visit"] == 1 for event in events)
    assert (worker.spool / "000000003.png").read_bytes() == (worker.spool / "000000004.png").read_bytes()
    assert not list(worker.unfinished.iterdir()), "half a file left"


def test_memory_stays_flat(worker, tmp_path):
    def resident() -> int:
        pages = Path(f"/proc/{worker.process.pid}/statm").read_text().split()[1]
        return int(pages) * 4096

    box = white_box(tmp_path / "box.obj")
    for _ in range(2):
        worker.visit(procedural(0), {0: REST})
    before = resident()
    for _ in range(6):
        worker.visit(procedural(0), {0: REST})
        worker.visit(box, {0: REST})
    assert resident() - before < 20 * 2**20


def test_it_ends_when_its_input_ends(blender, tmp_path):
    worker = Worker(blender, tmp_path)
    started = time.monotonic()
    assert worker.close() == 0
    assert time.monotonic() - started < 30
