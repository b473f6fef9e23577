"""What is done, failed, missing and damaged, over all shards of an output folder."""

import pytest

from mm_jax.batch.journal import DONE
from mm_jax.batch.shards import Shard
from mm_jax.batch.status import count, finished
from mm_jax.batch.store import LocalStore, RemoteStore, open_store
from mm_jax.errors import DataError, UsageError
from tests.batch.doubles import Words, items_of, run


@pytest.fixture
def worked(tmp_path):
    """Twelve items in two shards, two of them failed; three more are not done."""
    items = items_of("0-11")
    for shard in (Shard(0, 2), Shard(1, 2)):
        folder = shard.folder(tmp_path)
        folder.mkdir(parents=True)
        run(folder, Words(unreadable=[3, 8]), [i for i in items if shard.holds(i.id)], retries=0)
        for path in (folder / "items").rglob("*.txt"):
            target = tmp_path / "items" / path.relative_to(folder / "items")
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
    return tmp_path, items_of("0-14")


def test_counts(worked):
    outdir, items = worked
    store = LocalStore(outdir / "items", outdir / "scratch")
    past = finished(outdir, store)
    now = count(items, past)
    assert (now.items, now.done, now.failed, now.damaged, now.missing) == (15, 10, 2, 0, 3)
    assert past.files == 20 and past.examples == ()


def test_damage_is_found(worked):
    outdir, items = worked
    (outdir / "items" / items[0].file(".txt")).write_text("half")
    (outdir / "items" / items[1].file("_more.txt")).unlink()
    past = finished(outdir, LocalStore(outdir / "items", outdir / "scratch"))
    now = count(items, past)
    assert (now.done, now.damaged, now.missing) == (8, 2, 3)
    assert set(past.examples) == {items[0].file(".txt"), items[1].file("_more.txt")}
    assert count(items, finished(outdir, None)).done == 10


def test_what_was_done_after_it_failed_is_done(worked):
    outdir, items = worked
    folder = Shard(0, 1).folder(outdir)
    folder.mkdir()
    run(folder, Words(), [item for item in items if item.entry["seed"] == 3])
    assert (folder / DONE).exists()
    now = count(items, finished(outdir, None))
    assert (now.done, now.failed) == (11, 1)


def test_an_empty_folder(tmp_path):
    now = count(items_of("0-2"), finished(tmp_path, None))
    assert (now.items, now.missing) == (3, 3)


def test_stores_hold_what_they_were_given(tmp_path):
    for store in (
        open_store("", tmp_path / "items", tmp_path / "scratch"),
        open_store(f"file://{tmp_path}/other", tmp_path / "items", tmp_path / "scratch"),
        open_store("memory://bucket/faces", tmp_path / "items", tmp_path / "scratch"),
    ):
        assert store.sha256("3f/a.txt") is None
        store.write("3f/a.txt", b"once")
        first = store.sha256("3f/a.txt")
        store.write("3f/a.txt", b"again")
        assert first is not None and store.sha256("3f/a.txt") not in (None, first)
    assert (tmp_path / "items" / "3f" / "a.txt").read_bytes() == b"again"
    assert (tmp_path / "other" / "3f" / "a.txt").read_bytes() == b"again"


def test_remote_failures(monkeypatch):
    with pytest.raises(UsageError, match="nosuch"):
        RemoteStore("nosuch://bucket")
    store = RemoteStore("memory://bucket")

    def fails(*args, **kwargs):
        raise ConnectionError("the network\nis down")

    monkeypatch.setattr(store._files, "pipe_file", fails)
    with pytest.raises(DataError, match="cannot write memory://bucket/a: the network"):
        store.write("a", b"")
    monkeypatch.setattr(store._files, "cat_file", fails)
    with pytest.raises(DataError, match="cannot read"):
        store.sha256("a")
