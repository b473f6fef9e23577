"""The loop does every item once, whatever fails and whenever it is killed."""

import contextlib
import errno
import os
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_jax import io
from mm_jax.batch import journal
from mm_jax.batch.journal import DONE, FAILED, read_journal
from mm_jax.errors import DataError
from tests.batch.doubles import Words, contents, expected, items_of, run


def ids(path):
    return [record["id"] for record in read_journal(path)]


def test_every_item_once_in_full_batches(tmp_path):
    task, items = Words(), items_of("0-19")
    reported = []
    outcome = run(tmp_path, task, items, progress=lambda *args: reported.append(args))
    assert outcome == (20, 0, False)
    assert contents(tmp_path) == expected(items)
    assert sorted(ids(tmp_path / DONE)) == sorted(item.id for item in items)
    assert [len(batch) for batch in task.batches] == [3] * 6 + [1, 1]
    assert all(len({seed % 2 for seed in batch}) == 1 for batch in task.batches)
    assert reported[0] == ("items", 0, 20) and reported[-1] == ("items", 20, 20)
    # Nothing is left to do.
    assert run(tmp_path, task, items).done == 0 and len(task.batches) == 8


def test_failures_are_repeated_and_set_aside(tmp_path):
    items = items_of("0-11")
    task = Words(unreadable=[2], diverging=[5], unwritable=[7])
    outcome = run(tmp_path, task, items, retries=2)
    assert outcome == (9, 3, False)
    failed = {r["item"]["seed"]: r["reason"] for r in read_journal(tmp_path / FAILED)}
    assert failed == {2: "OSError: the image is damaged", 5: "NaN", 7: "no image"}
    assert task.reads.count(2) == 3 and task.batches.count([5]) == 2
    good = [item for item in items if item.entry["seed"] not in (2, 5, 7)]
    assert contents(tmp_path) == expected(good)
    # If one item of a batch diverges, the others are done.
    assert {3, 1} <= {seed for batch in task.batches if len(batch) == 1 for seed in batch}


def test_a_momentary_failure_is_none(tmp_path):
    task = Words()
    load, calls = task.load, []

    def shaky(item):
        calls.append(item)
        if len(calls) == 1:
            raise OSError("try again")
        return load(item)

    task.load = shaky
    assert run(tmp_path, task, items_of("0-4"), retries=1, readers=1).failed == 0


def test_a_bug_ends_the_run(tmp_path):
    task = Words()

    def compute(items, inputs):
        raise TypeError("a bug")

    task.compute = compute
    with pytest.raises(TypeError, match="a bug"):
        run(tmp_path, task, items_of("0-4"))


def test_stopping_finishes_what_is_under_way(tmp_path):
    task, items = Words(), items_of("0-30")
    outcome = run(tmp_path, task, items, stop=lambda: len(task.batches) == 3)
    assert outcome.stopped and outcome.done == 9
    assert len(ids(tmp_path / DONE)) == 9 and len(contents(tmp_path)) == 18
    assert run(tmp_path, task, items).done == 22
    assert contents(tmp_path) == expected(items)


def test_inputs_are_read_ahead_but_not_all(tmp_path):
    task = Words()
    most = []
    compute = task.compute

    def watched(items, inputs):
        done = sum(len(batch) for batch in task.batches)
        most.append(len(task.reads) - done)
        return compute(items, inputs)

    task.compute = watched
    assert run(tmp_path, task, items_of("0-199"), ahead=10).done == 200
    # Those read ahead, and the incomplete batches of two groups.
    assert max(most) <= 10 + 2 * 3


class Killed(BaseException):
    """An exception that no handler may mistake for the failure of an item."""


class Dying:
    """The module `os` of a process that dies after `life` calls; from then on every call fails."""

    WATCHED = ("replace", "pwrite", "fsync", "chmod", "close", "ftruncate")

    def __init__(self, life):
        self.life = life
        self._lock = threading.Lock()

    def __getattr__(self, name):
        real = getattr(os, name)
        return self._watched(name, real) if name in self.WATCHED else real

    def _watched(self, name, real):
        def call(*args, **kwargs):
            with self._lock:
                alive = self.life >= 0
                self.life -= 1
                if self.life >= 0 or name == "close":  # handles are the kernel's to close
                    return real(*args, **kwargs)
                if alive and name == "pwrite":  # a torn line
                    real(args[0], args[1][: len(args[1]) // 2], *args[2:])
                raise Killed

        return call


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 60), max_size=6), st.integers(1, 3))
def test_every_item_exactly_once_however_often_it_is_killed(tmp_path_factory, lives, writers):
    outdir = tmp_path_factory.mktemp("killed")
    items = items_of("0-9")
    for life in lives:
        with pytest.MonkeyPatch.context() as patch:
            dying = Dying(life)
            for module in (io, journal):
                patch.setattr(module, "os", dying)
            with contextlib.suppress(Killed):
                run(outdir, Words(unreadable=[4]), items, writers=writers, retries=0)
        # At any time, recorded files exist and are whole, and there are no others.
        found = contents(outdir) if (outdir / "items").exists() else {}
        assert found.items() <= expected(items).items()
        for record in read_journal(outdir / DONE):
            assert record["files"].keys() <= found.keys()
    run(outdir, Words(unreadable=[4]), items, retries=0)
    good = [item for item in items if item.entry["seed"] != 4]
    assert sorted(ids(outdir / DONE)) == sorted(item.id for item in good)
    assert contents(outdir) == expected(good)


def test_a_full_disk_is_one_clear_error_and_space_cures_it(tmp_path, monkeypatch):
    items = items_of("0-20")
    written = []

    class Full:
        def __getattr__(self, name):
            return self._replace if name == "replace" else getattr(os, name)

        def _replace(self, source, target):
            written.append(target)
            if len(written) > 11:
                raise OSError(errno.ENOSPC, "No space left on device")
            os.replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(io, "os", Full())
        with pytest.raises(DataError, match=r"cannot write .*No space left on device"):
            run(tmp_path, Words(), items)
    recorded = list(read_journal(tmp_path / DONE))
    assert 0 < len(recorded) <= 5
    assert list((tmp_path / "scratch").iterdir()) == []
    assert not (tmp_path / FAILED).read_text()
    assert run(tmp_path, Words(), items).done == 21 - len(recorded)
    assert contents(tmp_path) == expected(items)
