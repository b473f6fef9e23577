"""What needs no cluster: how nodes are divided into workers, and what a worker does with a part."""

import dataclasses
import json
import pickle
from pathlib import Path

import pytest

from mm_jax.batch.job import load_task
from mm_jax.batch.manifest import read_items
from mm_jax.batch.options import BatchOptions
from mm_jax.batch.ray_engine import Job, Workers, do_part
from mm_jax.checkpoints import save_generator
from mm_jax.errors import UsageError


def nodes(*resources, dead=()):
    alive = [{"Alive": True, "Resources": own} for own in resources]
    return [*alive, *({"Alive": False, "Resources": own} for own in dead)]


GPUS = {"CPU": 64.0, "GPU": 8.0}


@pytest.mark.parametrize(
    ("cluster", "wanted", "kind", "amount", "room"),
    [
        (nodes({"CPU": 2.0}), None, "CPU", 2, 1),
        (nodes({"CPU": 2.0}), 2, "CPU", 1, 2),
        (nodes({"CPU": 2.0}), 8, "CPU", 0.25, 8),
        (nodes({"CPU": 8.0}, {"CPU": 16.0}), None, "CPU", 8, 3),
        (nodes({"CPU": 8.0}, {}, dead=[{"CPU": 2.0}]), None, "CPU", 8, 1),
        (nodes({"CPU": 4.0}, GPUS, GPUS), None, "GPU", 8, 2),
        (nodes(GPUS, GPUS), 4, "GPU", 4, 4),
        (nodes(GPUS, GPUS), 16, "GPU", 1, 16),
        (nodes(GPUS), 100, "GPU", 1, 8),
        (nodes({"CPU": 96.0, "TPU": 4.0}, {"CPU": 96.0}), None, "TPU", 4, 1),
        (nodes(), None, "CPU", 1, 0),
    ],
)
def test_workers_divide_nodes(cluster, wanted, kind, amount, room):
    workers = Workers.of(cluster, wanted)
    assert (workers.kind, workers.amount, workers.limit) == (kind, amount, wanted)
    assert sum(workers.on(cluster)) == room
    asked = {name: value for name, value in workers.options.items() if value}
    assert (
        asked
        == {
            "CPU": {"num_cpus": amount},
            "GPU": {"num_gpus": amount},
            "TPU": {"resources": {"TPU": amount}},
        }[kind]
    )


@pytest.fixture
def job(tiny_generator, tmp_path):
    folder = save_generator(tiny_generator, tmp_path / "tiny", format="safetensors")
    options = BatchOptions(task="sample", generator=str(folder), batch=4)
    _, models = load_task(options, images=False)
    return Job(
        options=options,
        images=False,
        models=json.dumps(models, sort_keys=True),
        compile_cache="off",
        cwd=Path("/no/such/folder"),
        items=tmp_path / "items",
        scratch=tmp_path / "scratch",
        cores=0,
    )


def items_of(seeds):
    return list(read_items([("here", {"seeds": seeds})], "sample", {"trunc": 0.7}))


def test_a_part_is_written_and_reported(job, tmp_path):
    job = pickle.loads(pickle.dumps(job))  # all that reaches a worker
    assert do_part(job, []).done == []
    for seeds in ("0-8", "9"):
        items = items_of(seeds)
        report = do_part(job, items)
        assert [record["id"] for record in report.done] == [item.id for item in items]
        assert report.failed == [] and report.error == ""
        for item in items:
            assert (tmp_path / "items" / item.file(".png")).stat().st_size
    assert list((tmp_path / "scratch").iterdir()) == []


def test_other_models_are_refused(job):
    with pytest.raises(UsageError, match="has other models than the driver"):
        do_part(dataclasses.replace(job, models="{}"), [])


def test_a_store_that_fails_is_reported(job, tmp_path):
    (tmp_path / "items").touch()
    report = do_part(job, items_of("0"))
    assert report.done == [] and "cannot write" in report.error
