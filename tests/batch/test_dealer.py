"""Batches dealt to workers that are lost by rule: no item is lost with them, nor done twice."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_jax.batch import dealer
from mm_jax.batch.dealer import HELD, Dealer, Ended, Lost, Ready, Report
from mm_jax.batch.journal import DONE, FAILED, Journal, read_journal
from mm_jax.batch.ledger import Ledger
from mm_jax.batch.runner import Runner, threads
from mm_jax.batch.store import LocalStore, RemoteStore
from mm_jax.errors import DataError, UsageError
from tests.batch.doubles import Words, contents, expected, items_of


class Pool:
    """Workers of this process. Those that are given a deadly seed are lost, and any by chance."""

    def __init__(self, kind, store, own, *, workers=2, deadly=(), chance=(), seed=0):
        self.kind, self.store, self.own = kind, store, own
        self.deadly, self.chance = set(deadly), set(chance)
        self.random = random.Random(seed)
        self.held = {}
        self.given = []
        self.events = []
        self.started = 0
        self.waits = 0
        for _ in range(workers):
            self._start()

    def _start(self):
        self.started += 1
        self.held[self.started] = {}
        self.events.append(Ready(self.started, "here"))

    def give(self, worker, batch, items):
        seeds = [item.entry["seed"] for item in items]
        self.given.append(seeds)
        self.held[worker][batch] = items
        assert len(self.held[worker]) <= HELD

    def wait(self):
        self.waits += 1
        busy = [worker for worker, held in self.held.items() if held]
        if busy:
            worker = self.random.choice(busy)
            batch = self.random.choice(list(self.held[worker]))
            seeds = {item.entry["seed"] for item in self.held[worker][batch]}
            if seeds & self.deadly or self.waits in self.chance:
                del self.held[worker]
                self.events.append(Lost(worker, "killed"))
                self._start()
            else:
                self.events.append(Ended(worker, batch, self._done(self.held[worker].pop(batch))))
        events, self.events = self.events, []
        return events

    def _done(self, items):
        done, failed = [], []

        def enter(some, others):
            done.extend(some)
            failed.extend(others)

        runner = Runner(
            kind=self.kind, store=self.store, enter=enter, threads=self.own, pause=0.0
        )  # fmt: skip
        try:
            runner.run(items)
        except DataError as error:
            return Report(done, failed, str(error))
        return Report(done, failed)


def deal(outdir, items, *, kind=None, retries=1, stop=lambda pool: False, seen=None, **options):
    """Deals items; the pool, and how the run ended."""
    journals = Journal(outdir / DONE), Journal(outdir / FAILED)
    store = LocalStore(outdir / "items", outdir / "scratch")
    kind = kind or Words()
    try:
        ledger = Ledger(*journals, total=len(items) if isinstance(items, list) else 0)
        with threads(2, 2) as own:
            pool = Pool(kind, store, own, **options)
            run = Dealer(pool, ledger, seen or store, retries=retries, stop=lambda: stop(pool))
            return pool, ledger.outcome(stopped=run.run(items, kind))
    finally:
        for journal in journals:
            journal.close()


def seeds(path):
    return sorted(record["item"]["seed"] for record in read_journal(path))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 40),
    st.integers(1, 4),
    st.sets(st.integers(0, 39), max_size=3),
    st.sets(st.integers(1, 30), max_size=2),
    st.integers(0, 1000),
)
def test_every_item_once_whoever_is_lost(tmp_path_factory, count, workers, deadly, chance, seed):
    outdir = tmp_path_factory.mktemp("dealt")
    items = items_of(f"0-{count - 1}") if count else []
    # Chance alone, at most twice, is not enough for an item to be taken for deadly.
    _, outcome = deal(
        outdir, items, workers=workers, deadly=deadly, chance=chance, seed=seed, retries=2
    )
    bad = sorted(deadly & set(range(count)))
    assert seeds(outdir / FAILED) == bad
    good = [item for item in items if item.entry["seed"] not in bad]
    assert seeds(outdir / DONE) == [item.entry["seed"] for item in good]
    assert (outcome.done, outcome.failed, outcome.stopped) == (len(good), len(bad), False)
    if good:
        assert contents(outdir) == expected(good)


def test_what_a_deadly_item_costs(tmp_path):
    pool, outcome = deal(tmp_path, items_of("0-29"), workers=3, deadly=[8], retries=1)
    assert outcome.reason == "4 workers were lost with it, the last: killed"
    # With others, with its batch alone, and twice by itself.
    assert pool.started == 3 + 4
    assert pool.given.count([8]) == 2
    # What fell with it is given whole to a worker that holds nothing else, and taken apart if that
    # falls too; all others are dealt once.
    again = Counter(tuple(batch) for batch in pool.given)
    assert again.pop((6, 8, 10)) == 2 and again.pop((8,)) == 2
    assert again.pop((6,)) == again.pop((10,)) == 1
    assert max(again.values()) <= 2 and sum(count - 1 for count in again.values()) <= HELD - 1


def test_suspects_are_alone(tmp_path):
    pool, _ = deal(tmp_path, items_of("0-59"), workers=1, deadly=[0], retries=0)
    # From the first loss until the item is set aside, one batch at a time: each lost worker after
    # the first held nothing but what killed it.
    assert pool.given.count([0]) == 1 and pool.started == 1 + 3


def test_workers_that_join_are_used_and_the_manifest_is_not_read_ahead(tmp_path):
    read, most = [], []

    def lazily():
        for item in items_of("0-299"):
            read.append(item)
            yield item

    def joins(pool):
        finished = len(list(read_journal(tmp_path / DONE)))
        most.append(len(read) - finished)
        if finished > 100 and pool.started == 1:
            pool._start()
        return False

    pool, outcome = deal(tmp_path, lazily(), workers=1, stop=joins)
    assert outcome.done == 300 and pool.started == 2
    # What two workers hold, the batch that is next, and two groups that wait for company.
    assert max(most) <= 2 * HELD * 3 + 3 + 2 * 3


def test_stopping_awaits_what_is_held(tmp_path):
    pool, outcome = deal(tmp_path, items_of("0-59"), stop=lambda pool: len(pool.given) >= 8)
    assert outcome.stopped and not any(pool.held.values())
    assert seeds(tmp_path / DONE) == sorted(seed for batch in pool.given for seed in batch)
    assert len(pool.given) < 20


def test_stopping_when_all_is_done_is_no_stop(tmp_path):
    _, outcome = deal(tmp_path, items_of("0-5"), stop=lambda pool: len(pool.given) >= 2)
    assert (outcome.done, outcome.stopped) == (6, False)


def test_failures_are_entered_with_what_was_done(tmp_path):
    _, outcome = deal(tmp_path, items_of("0-11"), kind=Words(unreadable=[2], diverging=[5]))
    assert (outcome.done, outcome.failed) == (10, 2)
    assert seeds(tmp_path / FAILED) == [2, 5]


def test_workers_that_are_lost_whatever_they_are_given(tmp_path):
    with pytest.raises(DataError, match="workers were lost in a row, the last: killed"):
        deal(tmp_path, items_of("0-999"), deadly=range(1000))
    assert not (tmp_path / DONE).read_text()


def test_a_store_that_fails_ends_the_run_and_what_was_written_is_kept(tmp_path, monkeypatch):
    write, written = LocalStore.write, []

    def full(self, name, data):
        written.append(name)
        if len(written) > 9:
            raise DataError("No space left on device")
        write(self, name, data)

    monkeypatch.setattr(LocalStore, "write", full)
    with pytest.raises(DataError, match="No space left on device"):
        deal(tmp_path, items_of("0-29"), workers=1)
    assert 3 <= len(seeds(tmp_path / DONE)) <= 4


def test_files_that_do_not_arrive_here(tmp_path, monkeypatch):
    monkeypatch.setattr(dealer, "_LOOKS", (0.0, 0.0))
    with pytest.raises(UsageError, match="a worker on here has written, is not here"):
        deal(tmp_path, items_of("0-5"), seen=RemoteStore("memory://elsewhere"))
    assert not (tmp_path / DONE).read_text()
