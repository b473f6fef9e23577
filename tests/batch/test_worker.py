"""A worker, in this process: it does what the other engine does, and keeps no journal."""

from pathlib import Path

import pytest

from mm_jax.batch import flags
from mm_jax.batch.compat import Flags
from mm_jax.batch.manifest import read_items
from mm_jax.batch.opening import open_kind
from mm_jax.batch.settings import BatchSettings
from mm_jax.batch.worker import Opening, Worker
from mm_jax.checkpoints import save_generator
from mm_jax.errors import UsageError


@pytest.fixture
def opening(tiny_generator, tmp_path):
    folder = save_generator(tiny_generator, tmp_path / "tiny", format="safetensors")
    f = Flags()
    flags.define(f)
    f(["mm_batch", "--kind=sample", f"--generator={folder}", "--batch=4"])
    _, facts = open_kind(f, BatchSettings(), pictures=False)

    def make(**options):
        given = dict(
            flags=flags.plain(f), compile_cache="off", cwd=Path.cwd(), items=tmp_path / "items",
            scratch=tmp_path / "scratch", pictures=False, facts=facts,
        )  # fmt: skip
        return Opening(**{**given, **options})

    return make


def items_of(seeds):
    return list(read_items([("here", {"seeds": seeds})], "sample", {"trunc": 0.7}))


def test_files_are_written_and_told(opening, tmp_path):
    worker = Worker()
    assert worker.open(opening(cwd=Path("/no/such/folder")), 0)
    for seeds in ("0-3", "4"):
        items = items_of(seeds)
        report = worker.do(items)
        assert [record["id"] for record in report.done] == [item.id for item in items]
        assert report.failed == [] and report.error == ""
        for item in items:
            assert (tmp_path / "items" / item.file(".png")).stat().st_size
    assert list((tmp_path / "scratch").iterdir()) == []


def test_other_models_are_refused(opening):
    with pytest.raises(UsageError, match="others than where the run was started"):
        Worker().open(opening(facts={"generator_fingerprint": "0"}), 0)


def test_a_store_that_fails_is_told(opening, tmp_path):
    (tmp_path / "items").touch()
    worker = Worker()
    worker.open(opening(), 0)
    report = worker.do(items_of("0"))
    assert report.done == [] and "cannot write" in report.error


def test_flags_are_rebuilt(opening):
    values = opening().flags
    f = flags.rebuilt(values)
    assert f.kind == "sample" and f.batch == 4 and flags.plain(f) == values
