"""Shards: every item is in exactly one, and one process at a time works on it."""

import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_jax.batch.shards import Shard, locked, parse_shard, shard_folders
from mm_jax.errors import DataError, UsageError

ids = st.text("0123456789abcdef", min_size=24, max_size=24)


@settings(deadline=None)
@given(ids, st.integers(1, 50))
def test_every_item_is_in_one_shard(id, count):
    assert sum(Shard(i, count).holds(id) for i in range(count)) == 1


@settings(deadline=None)
@given(ids, st.integers(1, 6), st.integers(1, 6))
def test_parts_of_shards_are_shards(id, count, parts):
    for index in range(count):
        whole = Shard(index, count)
        pieces = [whole.part(i, parts) for i in range(parts)]
        assert len({piece.index for piece in pieces}) == parts
        assert sum(piece.holds(id) for piece in pieces) == whole.holds(id)


def test_parsing():
    assert parse_shard(" 3/8 ") == Shard(3, 8)
    for text in ("8/8", "1", "1/0", "-1/2", "a/b", "1/2/3"):
        with pytest.raises(UsageError):
            parse_shard(text)


def test_folders(tmp_path):
    assert shard_folders(tmp_path) == []
    for shard in (Shard(0, 1), Shard(1, 2)):
        shard.folder(tmp_path).mkdir(parents=True)
    assert [path.name for path in shard_folders(tmp_path)] == ["0-of-1", "1-of-2"]


def test_a_lock_ends_with_its_owner(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from mm_jax.batch.shards import locked\n"
        "with locked(Path(sys.argv[1])): print('mine', flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE)
    try:
        assert owner.stdout is not None and owner.stdout.readline() == b"mine\n"
        with pytest.raises(UsageError, match=f"process {owner.pid} on "), locked(tmp_path):
            raise AssertionError("not reached")
    finally:
        owner.kill()
        owner.wait()
        owner.stdout.close()
    with locked(tmp_path):
        assert f"process {os.getpid()} on " in (tmp_path / "lock").read_text()
    with locked(tmp_path):
        pass


def test_a_folder_that_cannot_be_created(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot write"), locked(tmp_path / "file" / "0-of-1"):
        raise AssertionError("not reached")
