"""Workers as nodes come and go, with a cluster that is none: it answers what it is told to."""

import types
from pathlib import Path

import pytest

from mm_jax.batch import ray_pool
from mm_jax.batch.dealer import HELD, Ended, Lost, Ready
from mm_jax.batch.ray_pool import RayPool
from mm_jax.batch.worker import Opening
from mm_jax.errors import DataError, UsageError


class RayError(Exception):
    pass


class RayTaskError(RayError):
    def __init__(self, cause):
        super().__init__("many lines")
        self.cause = cause


class Actor:
    """Its methods' results are references, and are what the test puts into `Cluster.results`."""

    def __init__(self, options):
        self.options, self.calls = options, []
        for name in ("open", "do"):
            setattr(self, name, types.SimpleNamespace(remote=self._called(name)))

    def _called(self, name):
        def call(*args):
            self.calls.append((name, args))
            return id(self), len(self.calls)

        return call


class Cluster:
    exceptions = types.SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, *nodes):
        self.own = [{"Alive": True, "Resources": node} for node in nodes]
        self.actors, self.killed, self.results = [], [], {}

    def nodes(self):
        return self.own

    def remote(self, kind):
        def options(**options):
            def start():
                self.actors.append(Actor(options))
                return self.actors[-1]

            return types.SimpleNamespace(remote=start)

        return types.SimpleNamespace(options=options)

    def wait(self, refs, num_returns, timeout):
        ready = [ref for ref in refs if ref in self.results][:num_returns]
        return ready, [ref for ref in refs if ref not in ready]

    def get(self, ref):
        result = self.results.pop(ref)
        if isinstance(result, Exception):
            raise result
        return result

    def kill(self, actor):
        self.killed.append(actor)

    def answer(self, actor, call, result):
        self.results[id(self.actors[actor]), call] = result


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    monkeypatch.setattr(
        ray_pool, "time", types.SimpleNamespace(monotonic=lambda: now[0], sleep=sleep)
    )
    return sleep


def pool_on(cluster, workers=None):
    opening = Opening(
        flags={}, compile_cache="off", cwd=Path(), items=Path(), scratch=Path(), pictures=False,
        facts={},
    )  # fmt: skip
    return RayPool(cluster, opening, workers)


def test_a_worker_on_each_accelerator_that_is_there_or_joins(clock):
    cluster = Cluster({"CPU": 8.0, "GPU": 2.0})
    pool = pool_on(cluster)
    assert pool.wait() == [] and len(cluster.actors) == 2
    assert cluster.actors[0].options["num_gpus"] == 1
    assert cluster.actors[0].options["max_concurrency"] == HELD
    cluster.answer(0, 1, "host")
    assert pool.wait() == [Ready(1, "host")]
    cluster.own.append({"Alive": True, "Resources": {"GPU": 1.0}})
    pool.wait()
    assert len(cluster.actors) == 2
    clock(11)
    pool.wait()
    assert len(cluster.actors) == 3
    # The one that waits for a node that has gone is waited for no longer.
    cluster.own.pop()
    clock(11)
    pool.wait()
    assert len(cluster.killed) == 1 and cluster.killed[0] is not cluster.actors[0]


def test_a_lost_worker_is_told_once_and_replaced(clock):
    cluster = Cluster({"CPU": 4.0})
    pool = pool_on(cluster)
    pool.wait()
    cluster.answer(0, 1, "host")
    pool.wait()
    for batch in (1, 2, 3):
        pool.give(1, batch, [])
    cluster.answer(0, 2, "report")
    cluster.answer(0, 3, RayError("gone\n Worker exit detail: killed. Some common causes: many"))
    cluster.answer(0, 4, RayError("gone"))
    assert pool.wait() == [Ended(1, 1, "report"), Lost(1, "killed.")]
    assert len(cluster.actors) == 2 and cluster.killed == [cluster.actors[0]]
    cluster.answer(1, 1, "host")
    assert pool.wait() == [Ready(2, "host")]


def test_workers_that_die_as_they_start(clock):
    cluster = Cluster({"CPU": 4.0})
    pool = pool_on(cluster)
    pool.wait()
    for number in range(2):
        cluster.answer(number, 1, RayError("the actor died\nModuleNotFoundError: mm_jax"))
        assert pool.wait() == []
    cluster.answer(2, 1, RayError("the actor died\nModuleNotFoundError: mm_jax"))
    with pytest.raises(DataError, match="3 workers died as they started, the last: ModuleNotFound"):
        pool.wait()


def test_what_a_worker_says_is_passed_on(clock):
    for cause, kind in ((UsageError("no such model"), UsageError), (TypeError(), RayTaskError)):
        cluster = Cluster({"CPU": 4.0})
        pool = pool_on(cluster)
        pool.wait()
        cluster.answer(0, 1, RayTaskError(cause))
        with pytest.raises(kind, match=r"a worker: no such model|many lines"):
            pool.wait()


def test_it_is_said_that_no_worker_starts(clock, capsys):
    pool = pool_on(Cluster({"CPU": 4.0}), workers=3)
    pool.wait()
    clock(29)
    pool.wait()
    assert capsys.readouterr().err == ""
    clock(2)
    pool.wait()
    pool.wait()
    told = capsys.readouterr().err
    assert told == "note: no worker has started in 30 s; each wants a node with 1 CPU to spare\n"


def test_an_empty_cluster_is_waited_for(clock, capsys):
    pool = pool_on(Cluster())
    for _ in range(40):
        assert pool.wait() == []
    assert "a node with a CPU to spare" in capsys.readouterr().err
