"""Journals: what was appended stays, whatever happens to the last line."""

import errno
import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_jax.batch import journal
from mm_jax.batch.journal import Journal, Seen, read_journal
from mm_jax.errors import DataError

records = st.lists(
    st.fixed_dictionaries({"id": st.text("0123456789abcdef", min_size=24, max_size=24)}), max_size=5
)


def appended(path, groups):
    file = Journal(path)
    for group in groups:
        file.append(group)
    file.close()


@settings(max_examples=60, deadline=None)
@given(st.lists(records, min_size=1, max_size=4), st.data())
def test_a_torn_end_loses_at_most_the_last_line(tmp_path_factory, groups, data):
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    appended(path, groups)
    flat = [record for group in groups for record in group]
    assert list(read_journal(path)) == flat
    content = path.read_bytes()
    torn = content[: data.draw(st.integers(0, len(content)))]
    path.write_bytes(torn)
    kept = flat[: torn.count(b"\n")]
    assert list(read_journal(path)) == kept
    appended(path, [[{"id": "more"}]])
    assert list(read_journal(path)) == [*kept, {"id": "more"}]


def test_a_missing_journal_is_empty(tmp_path):
    assert list(read_journal(tmp_path / "none.jsonl")) == []


@pytest.mark.parametrize("line", [b"{}\n", b"nonsense\n", b'{"id": 3}\n'])
def test_damage_elsewhere_is_reported(tmp_path, line):
    path = tmp_path / "journal.jsonl"
    path.write_bytes(json.dumps({"id": "a"}).encode() + b"\n" + line + b'{"id": "b"}\n')
    with pytest.raises(DataError, match="line 2 is damaged"):
        list(read_journal(path))


def test_a_full_disk_leaves_the_journal_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "journal.jsonl"
    file = Journal(path)
    file.append([{"id": "a"}])
    calls = []

    def full(handle, data, offset):
        calls.append(offset)
        if len(calls) == 1:
            return os.pwrite(handle, data[:5], offset)
        raise OSError(errno.ENOSPC, "No space left on device")

    class Full:
        pwrite = staticmethod(full)

        def __getattr__(self, name):
            return getattr(os, name)

    with monkeypatch.context() as patch:
        patch.setattr(journal, "os", Full())
        with pytest.raises(DataError, match="No space left"):
            file.append([{"id": "b"}])
    assert len(calls) == 2
    assert list(read_journal(path)) == [{"id": "a"}]
    assert path.read_bytes().count(b"\n") == 1 and path.read_bytes().endswith(b"\n")
    file.append([{"id": "c"}])
    file.close()
    assert list(read_journal(path)) == [{"id": "a"}, {"id": "c"}]


def test_a_journal_that_cannot_be_written(tmp_path):
    with pytest.raises(DataError, match="cannot write"):
        Journal(tmp_path / "missing" / "journal.jsonl")


# NumPy strips trailing zero bytes from fixed-width strings.
few_ids = st.sampled_from([f"{i:02x}{'00' * 11}" for i in range(9)] + ["00" * 11 + "01"])


@settings(deadline=None)
@given(st.lists(few_ids), st.integers(0, 3))
def test_seen_is_a_set(ids, loose):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "_LOOSE", loose)
        seen, want = Seen(), set()
        for id in ids:
            assert seen.add(id) == (id not in want)
            want.add(id)
            assert len(seen) == len(want)
            for other in ids:
                assert (other in seen) == (other in want)
