"""Stores at URLs: folders are created if the file system has them, buckets never."""

import pytest

from mm_jax.batch.store import RemoteStore, open_store
from mm_jax.errors import DataError, UsageError

fsspec = pytest.importorskip("fsspec")
HASH = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of b"abc"


class Buckets(fsspec.AbstractFileSystem):
    """An object store with one bucket, whose `makedirs` would create others."""

    protocol = "buckets"
    files: dict[str, bytes] = {}  # noqa: RUF012
    known = {"faces"}  # noqa: RUF012

    def makedirs(self, path, exist_ok=False):
        self.known.add(path.split("/")[0])

    def pipe_file(self, path, value, **_):
        if path.split("/")[0] not in self.known:
            raise FileNotFoundError("no such\nbucket")
        self.files[path] = value

    def cat_file(self, path, **_):
        return self.files[path]


def test_a_bucket_is_never_created():
    fsspec.register_implementation("buckets", Buckets, clobber=True)
    store = open_store("buckets://faces/many/", None, None)
    store.write("3f/a.png", b"abc")
    assert Buckets.files == {"faces/many/3f/a.png": b"abc"}
    assert store.sha256("3f/a.png") == HASH
    with pytest.raises(DataError, match=r"cannot write buckets://fades/3f/a\.png: no such$"):
        RemoteStore("buckets://fades").write("3f/a.png", b"abc")
    assert Buckets.known == {"faces"}


def test_folders_are_created(tmp_path):
    store = RemoteStore(f"file://{tmp_path}/many")
    store.write("3f/a.png", b"abc")
    assert store.sha256("3f/a.png") == HASH and store.sha256("3f/b.png") is None
    assert (tmp_path / "many" / "3f" / "a.png").read_bytes() == b"abc"


def test_an_unknown_url():
    with pytest.raises(UsageError, match="nowhere://a: "):
        RemoteStore("nowhere://a")
