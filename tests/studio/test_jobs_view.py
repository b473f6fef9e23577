"""What the page says of jobs in work."""

from __future__ import annotations

import pytest

from mm_jax import progress
from mm_jax.studio.jobs_view import TimeLeft
from mm_jax.studio.queues import Job


def test_the_time_left_is_that_of_the_present_piece_of_work(monkeypatch):
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    programs = 0
    monkeypatch.setattr(progress.compile_cache, "programs", lambda: programs)
    left, job = TimeLeft(), Job("me", "a job")

    def seen(seconds: float, label: str, step: int, steps: int = 10) -> str:
        nonlocal now
        now += seconds
        job.progress(label, step, steps)
        return left.words(job)

    assert seen(100, "finding", 1) == ""  # the first step compiles
    assert seen(2, "finding", 2) == ", about 16 s left"
    # Looked at again between steps: nothing more is known.
    assert seen(1, "finding", 2) == ", about 16 s left"
    assert seen(1, "finding", 3) == ", about 14 s left"
    programs += 1
    assert seen(60, "finding", 4) == ", about 12 s left"
    assert seen(9, "reading back", 1) == ""
    assert seen(0.05, "reading back", 2) == ""  # less than a second
    assert seen(9, "reading back", 10) == ""


@pytest.mark.parametrize("steps", [0, 1])
def test_nothing_is_said_of_work_without_steps(steps):
    job = Job("me", "a job")
    job.progress("starting", 0, steps)
    assert TimeLeft().words(job) == ""
