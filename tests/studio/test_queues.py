"""What is computed next: the newest picture, one job at a time, owners in turn."""

from __future__ import annotations

import threading

import pytest

from mm_jax.errors import DataError, UsageError
from mm_jax.studio.queues import Jobs, NewestWins


@pytest.fixture
def newest():
    own = NewestWins()
    yield own
    own.close()


@pytest.fixture
def jobs():
    own = Jobs(max_jobs=3)
    yield own
    own.close()


class Gate:
    """Work that holds a queue's thread until it is opened."""

    def __init__(self):
        self.begun, self.open = threading.Event(), threading.Event()

    def __call__(self, *_):
        self.begun.set()
        assert self.open.wait(10)


def test_the_newest_wins_and_owners_take_turns(newest):
    gate, done, seen = Gate(), threading.Event(), []
    newest.submit("z", gate)
    assert gate.begun.wait(10)
    for i in range(100):
        for owner in ("a", "b"):
            newest.submit(owner, lambda o=owner, i=i: seen.append((o, i)))
    newest.submit("c", lambda: seen.append("forgotten"))
    newest.forget("c")
    newest.submit("d", done.set)
    gate.open.set()
    assert done.wait(10)
    assert seen == [("a", 99), ("b", 99)]


def test_the_rest_of_a_call_waits_for_others_and_a_newer_one_wins(newest):
    gate, done, seen = Gate(), threading.Event(), []

    def first():
        seen.append("a begins")
        newest.go_on("a", lambda: seen.append("a ends"))
        newest.go_on("c", lambda: seen.append("c ends"))
        newest.submit("c", lambda: seen.append("c anew"))

    newest.submit("z", gate)
    assert gate.begun.wait(10)
    newest.submit("a", first)
    newest.submit("b", lambda: seen.append("b"))
    gate.open.set()
    newest.submit("d", done.set)
    assert done.wait(10)
    newest.submit("d", (again := threading.Event()).set)
    assert again.wait(10)
    assert seen == ["a begins", "b", "a ends", "c anew"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_in_one_call_does_not_end_the_thread(newest, capsys):
    done = threading.Event()
    newest.submit("a", lambda: 1 // 0)
    newest.submit("b", done.set)
    assert done.wait(10)
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_one_job_at_a_time_owners_in_turn(jobs):
    gate, order = Gate(), []
    first = jobs.submit("z", "first", gate)
    assert gate.begun.wait(10)
    given = [
        jobs.submit(owner, str(i), lambda progress, o=owner, i=i: order.append((o, i)))
        for owner in ("a", "b")
        for i in range(2)
    ]
    assert [job.ahead for job in given] == [1, 3, 2, 4]
    assert first.state == "running" and given[0].state == "waiting"
    gate.open.set()
    assert all(job.wait(10) for job in given)
    assert order == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    assert {job.state for job in given} == {"done"}


def test_jobs_report_fail_and_are_cancelled(jobs):
    begun = threading.Event()

    def long(progress):
        begun.set()
        for i in range(10**9):
            progress("step", i, 10**9)

    running = jobs.submit("a", "long", long)
    waiting = jobs.submit("a", "waits", lambda progress: None)
    assert begun.wait(10)
    jobs.cancel(waiting)
    assert waiting.state == "cancelled"
    jobs.cancel(running)
    assert running.wait(10) and running.state == "cancelled" and running.label == "step"

    def bad(progress):
        raise DataError("no\nface")

    failed = jobs.submit("a", "bad", bad)
    assert failed.wait(10) and (failed.state, failed.error) == ("failed", "no face")
    good = jobs.submit("a", "good", lambda progress: 7)
    assert good.wait(10) and good.result == 7


def test_a_bug_is_told_and_the_next_job_runs(jobs, capsys):
    broken = jobs.submit("a", "bug", lambda progress: {}["x"])
    assert broken.wait(10) and broken.error == "an error of the studio: KeyError"
    assert "KeyError" in capsys.readouterr().err
    full = jobs.submit("a", "full", lambda progress: (_ for _ in ()).throw(MemoryError()))
    assert full.wait(10) and full.error == "out of memory"


def test_an_owner_may_have_so_many_and_can_be_forgotten(jobs):
    gate = Gate()
    held = jobs.submit("a", "1", gate)
    assert gate.begun.wait(10)
    rest = [jobs.submit("a", str(i), lambda progress: None) for i in range(2)]
    with pytest.raises(UsageError, match="3 jobs of yours"):
        jobs.submit("a", "4", lambda progress: None)
    other = jobs.submit("b", "other", lambda progress: "still")
    jobs.forget("a")
    assert {job.state for job in rest} == {"cancelled"}
    gate.open.set()
    assert held.wait(10) and other.wait(10)
    assert other.result == "still"
