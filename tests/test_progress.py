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
