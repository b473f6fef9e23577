"""Progress is silent by default, a line per piece of work in a log, a bar in a terminal."""

import io
from types import SimpleNamespace

import pytest

from mm_jax import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def report(fn):
    for done in range(4):
        fn("drawing", done, 3)


def test_silent_says_nothing(capsys):
    report(progress.silent)
    assert capsys.readouterr() == ("", "")


def test_a_log_gets_one_line_for_each_finished_work():
    stream = io.StringIO()
    with progress.shown(stream) as fn:
        report(fn)
        fn("encoding", 1, 2)
        report(fn)
    lines = stream.getvalue().splitlines()
    assert [line.split(" in ")[0] for line in lines] == ["drawing: 3/3"] * 2


def test_a_log_gets_a_line_each_minute_and_every_second_is_accounted_for(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    stream = io.StringIO()
    with progress.shown(stream) as fn:
        for label, seconds in (("faces", 20.0), ("latents", 30.0)):
            for done in range(1, 8):
                now += seconds
                fn(label, done, 7)
    assert stream.getvalue().splitlines() == [
        "faces: 3/7 after 60 s, about 80 s left",
        "faces: 6/7 after 120 s, about 20 s left",
        "faces: 7/7 in 140.0 s",
        "latents: 2/7 after 60 s, about 2 min left",
        "latents: 4/7 after 120 s, about 90 s left",
        "latents: 6/7 after 180 s, about 30 s left",
        "latents: 7/7 in 210.0 s",
    ]


@pytest.fixture
def clock(monkeypatch):
    """Seconds, and programs that were compiled, both set by the test."""
    now = SimpleNamespace(seconds=0.0, programs=0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now.seconds)
    monkeypatch.setattr(progress.compile_cache, "programs", lambda: now.programs)
    return now


def test_the_first_step_of_a_long_work_says_nothing_of_the_others(clock):
    """184 s of compiling before the first step, then 4 s a step: not 55,000 s for 299 steps."""
    stream = io.StringIO()
    with progress.shown(stream) as fn:
        clock.seconds += 184
        fn("tuning", 1, 300)
        for done in range(2, 18):
            clock.seconds += 4
            fn("tuning", done, 300)
    assert stream.getvalue().splitlines() == [
        "tuning: 1/300 after 184 s",
        "tuning: 16/300 after 244 s, about 19 min left",
    ]


@pytest.mark.parametrize("begun", [False, True])
def test_steps_that_compile_are_not_counted(clock, begun):
    """Neither the first one nor a later one for which another program is made."""
    pace = progress.Pace()
    if begun:
        pace.report(0)
    clock.seconds, clock.programs = 100.0, 1
    pace.report(1)
    assert pace.left(10) is None
    clock.seconds += 3
    pace.report(2)
    assert pace.left(10) == pytest.approx(30)
    clock.seconds, clock.programs = clock.seconds + 60, 2
    pace.report(3)
    clock.seconds += 1
    pace.report(4)
    assert pace.left(10) == pytest.approx(20)


def test_work_that_begins_anew_is_timed_anew(clock):
    pace = progress.Pace()
    for seconds in (10, 1):
        for done in range(3):
            clock.seconds += seconds
            pace.report(done)
    assert pace.left(1) == pytest.approx(1)


def test_reports_during_a_step_take_nothing_from_its_time(clock):
    """Parts that are looked at every two seconds, and take a minute each."""
    pace = progress.Pace()
    for seconds in range(1, 181):
        clock.seconds += 1
        if seconds % 2 == 0:
            pace.report(seconds // 60)
    assert pace.left(3) == pytest.approx(180)


def test_nothing_counts_while_every_step_compiles(clock):
    pace = progress.Pace()
    for done in range(5):
        clock.seconds, clock.programs = clock.seconds + 7, clock.programs + 1
        pace.report(done)
    assert pace.left(10) is None


def test_a_terminal_says_what_is_left_once_it_can_be_known(clock):
    stream = Terminal()
    with progress.shown(stream) as fn:
        clock.seconds += 500
        fn("tuning", 1, 100)
    assert "left" not in stream.getvalue()
    with progress.shown(stream) as fn:
        for done in (1, 2, 3):
            clock.seconds += 1
            fn("tuning", done, 100)
    assert "about 97 s left" in stream.getvalue()


def test_a_terminal_gets_a_bar_with_count_and_label():
    stream = Terminal()
    with progress.shown(stream) as fn:
        report(fn)
    assert "drawing" in stream.getvalue()
    assert "3/3" in stream.getvalue()


def test_long_work_is_foretold_once(monkeypatch):
    """Ten steps of 7 s after a first of a minute, which is compilation."""
    now, said, reports = [0.0], [], []
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    fn = progress.foretold(lambda *report: reports.append(report), said.append)
    for done in range(1, 12):
        now[0] += 60 if done == 1 else 7
        fn("tuning", done, 11)
    assert said == ["tuning: 11 steps, about 35 s more"]
    assert reports == [("tuning", done, 11) for done in range(1, 12)]


def test_short_work_is_not_foretold():
    said = []
    fn = progress.foretold(progress.silent, said.append)
    report(fn)
    assert not said


def test_every_second_of_a_program_belongs_to_one_stage(clock):
    """Whatever comes between two reports is the later one's; what comes at the end is the rest."""
    with progress.staged() as stages:
        assert str(stages) == ""
        clock.seconds += 5
        with progress.shown(io.StringIO()) as fn:
            for label, seconds in (("faces", 1), ("frames", 20), ("faces", 2), ("frames", 30)):
                clock.seconds += seconds
                fn(label, 1, 9)
        so_far = progress.stages_so_far()
        clock.seconds += 2
        assert str(stages) == "opening 5.0 s, faces 3.0 s, frames 50.0 s, the rest 2.0 s"
    assert so_far == {"opening": 5.0, "faces": 3.0, "frames": 50.0}
    assert progress.stages_so_far() == {}


def test_short_stages_are_not_named_beside_many_long_ones(clock):
    with progress.staged() as stages, progress.shown(io.StringIO()) as fn:
        for k in range(9):
            clock.seconds += 1 + k
            fn(f"stage {k}", 1, 1)
    named = ", ".join(f"stage {k} {1 + k:.1f} s" for k in range(3, 9))
    assert str(stages) == f"{named}, the rest 6.0 s"
