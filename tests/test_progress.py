"""Progress is silent by default, a line per piece of work in a log, a bar in a terminal."""

import io

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
        "latents: 2/7 after 60 s, about 150 s left",
        "latents: 4/7 after 120 s, about 90 s left",
        "latents: 6/7 after 180 s, about 30 s left",
        "latents: 7/7 in 210.0 s",
    ]


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
