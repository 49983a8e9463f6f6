"""The lines of a run, under a clock that the test turns."""

import io

import pytest

from renderer.progress import Progress, Standing, duration, line, speed


class Screen(io.StringIO):
    def __init__(self, tty: bool) -> None:
        super().__init__()
        self.tty = tty

    def isatty(self) -> bool:
        return self.tty


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def draw(progress: Progress, clock: Clock, images: int, seconds: float, standing: Standing) -> Standing:
    """Let `images` come evenly over `seconds`."""
    for _ in range(images):
        clock.now += seconds / images
        progress.image(0)
        standing = Standing(standing.asked, standing.done + 1, standing.left - 1, standing.quarantined)
        progress.show(standing)
    return standing


def test_a_log_has_a_line_each_half_minute(clock):
    screen = Screen(tty=False)
    progress = Progress(screen, clock)
    standing = Standing(asked=10_000, done=0, left=10_000, quarantined=0)
    progress.show(standing)
    progress.ready()
    draw(progress, clock, 2400, 300, standing)
    lines = screen.getvalue().splitlines()
    assert lines[0] == "0 of 10,000 images (0.0%), Blender starts"
    assert len(lines) == 11
    assert lines[-1] == "2,400 of 10,000 images (24.0%), 8.00 images/s, 0:15:50 left"


def test_rate_and_time_left_are_those_of_now_and_of_this_run(clock):
    """Resumed at 5,000; 100 images a second at first, then 8."""
    progress = Progress(Screen(tty=False), clock)
    clock.now += 50  # of start-up, which is no part of the rate
    progress.ready()
    standing = draw(progress, clock, 1000, 10, Standing(asked=10_000, done=5000, left=4900, quarantined=2))
    assert progress.rate() == pytest.approx(100, rel=0.01)
    standing = draw(progress, clock, 1200, 150, standing)
    assert line(standing, progress.rate(), started=True, last=False) == (
        "7,200 of 10,000 images (72.0%), 8.00 images/s, 0:05:38 left, 2 objects quarantined (100 images skipped)"
    )


def test_few_slow_images_still_have_a_rate(clock):
    progress = Progress(Screen(tty=False), clock)
    progress.ready()
    draw(progress, clock, 10, 1000, Standing(20, 0, 20, 0))
    assert progress.rate() == pytest.approx(0.01)
    clock.now += 1000  # and it falls while nothing comes
    assert progress.rate() == pytest.approx(0.005)


def test_the_last_line_has_the_rate_of_the_whole_run(clock):
    screen = Screen(tty=False)
    progress = Progress(screen, clock)
    progress.ready()
    standing = draw(progress, clock, 200, 100, Standing(200, 0, 200, 0))
    clock.now += 100
    progress.show(standing, last=True)
    assert screen.getvalue().splitlines()[-1] == "200 of 200 images (100.0%), 1.00 images/s while drawing"


def test_on_a_terminal_other_lines_do_not_mix_with_it(clock):
    screen = Screen(tty=True)
    progress = Progress(screen, clock)
    progress.show(Standing(asked=10_000, done=9_999, left=1, quarantined=0))
    before = len(screen.getvalue())
    progress.say("quarantined x")
    said = screen.getvalue()[before:]
    assert said.startswith("\r  ") and said.endswith(" \rquarantined x\n")
    clock.now += 2
    progress.show(Standing(asked=10_000, done=10_000, left=0, quarantined=0), last=True)
    assert screen.getvalue().count("\n") == 2


@pytest.mark.parametrize(
    ("rate", "says"),
    [
        (0, "0 images/s"),
        (0.0123, "0.012 images/s"),
        (1.234, "1.23 images/s"),
        (45.67, "45.7 images/s"),
        (1234, "1234 images/s"),
    ],
)
def test_speed(rate, says):
    assert speed(rate) == says


def test_duration():
    assert duration(3725.4) == "1:02:05" and duration(float("inf")) == "unknown time"
