"""Manifests to items: one meaning however it is written, and one line on what is wrong."""

import csv
import hashlib
import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_jax.batch.manifest import read_entries, read_items
from mm_jax.errors import DataError, UsageError

DEFAULTS = {"trunc": 0.7, "degrees": "no,50%,100%", "motion": "smile"}


def items_of(entries, kind="sample", defaults=DEFAULTS, **options):
    return list(read_items((("here", e) for e in entries), kind, defaults, **options))


def test_defaults_and_what_an_entry_says():
    plain, own = items_of([{"seed": 3}, {"seed": 3, "trunc": 1, "name": "ann"}])
    assert plain.entry == {"seed": 3, "trunc": 0.7}
    assert own.entry == {"seed": 3, "trunc": 1.0, "name": "ann"}
    assert plain.file(".png") == f"{plain.id[:2]}/{plain.id}.png"
    (stored,) = items_of([{"latent": "a.npz", "code": 2}])
    assert stored.entry == {"latent": "a.npz", "code": 2}


def test_ids_hang_on_the_meaning_alone():
    entries = [{"seed": 3}, {"seed": 4}, {"seed": 3, "trunc": 0.5}, {"seed": 3, "name": "x"}]
    ids = [item.id for item in items_of(entries)]
    assert len(set(ids)) == 4 and all(len(id) == 24 for id in ids)
    assert ids[0] == items_of([{"trunc": 0.7, "seed": 3}], defaults={})[0].id
    assert ids[0] != items_of([{"seed": 3}], "extract")[0].id
    # Files are named after it: it must not change from one version to the next.
    said = b'{"kind":"sample","seed":3,"trunc":0.7}'
    assert ids[0] == hashlib.sha256(said).hexdigest()[:24]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.floats(-2, 2)), min_size=1, max_size=9))
def test_tables_and_lines_say_the_same(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("manifests")
    entries = [{"seed": seed, "trunc": trunc} for seed, trunc in rows]
    (folder / "a.jsonl").write_text("\n\n".join(map(json.dumps, entries)))
    with open(folder / "a.csv", "w", newline="") as file:
        table = csv.DictWriter(file, ["trunc", "seed", "name"], restval="")
        table.writeheader()
        table.writerows(entries)
    read = [
        list(read_items(read_entries(str(folder / name)), "sample", {}))
        for name in ("a.jsonl", "a.csv")
    ]
    assert read[0] == read[1] == items_of(entries)


def test_one_entry_for_many():
    seeds = items_of([{"seeds": "0-2,9", "motion": "aging"}], "extract")
    assert [item.entry["seed"] for item in seeds] == [0, 1, 2, 9]
    assert {item.entry["motion"] for item in seeds} == {"aging"}
    # Millions are nothing that is collected first.
    many = read_items([("here", {"seeds": "0-4000000000"})], "sample", DEFAULTS)
    assert [item.entry["seed"] for item in itertools.islice(many, 3)] == [0, 1, 2]


def test_codes_and_pictures_of_files(tmp_path):
    np.savez(tmp_path / "two.npz", ws=np.zeros((2, 6, 12), np.float32))
    codes = items_of([{"latents": str(tmp_path / "two.npz")}])
    assert [item.entry["code"] for item in codes] == [0, 1]
    for name in ("a.png", "b.JPG", ".hidden.png", "notes.txt", "deep/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def names(text):
        found = items_of([{"pictures": text}], "invert")
        return {item.entry["picture"].removeprefix(f"{tmp_path}/") for item in found}

    assert names(str(tmp_path)) == {"a.png", "b.JPG"}
    assert names(f"{tmp_path}/*.png") == {"a.png"}
    assert names(f"{tmp_path}/**/*.png") == {"a.png", "deep/c.png"}
    assert names(f"{tmp_path}/d*/*") == {"deep/c.png"}
    assert names("missing.png") == {"missing.png"}  # found out when it is its turn


@pytest.mark.parametrize(
    ("given", "want"),
    [
        (1, [[1.0], [1.0]]),
        ([-1, 0, 1], [[-1.0, 0.0, 1.0]] * 2),
        ("0:1", [[0.0, 0.5, 1.0]] * 2),
        (["0:1", "1,2,3"], [[0.0, 0.5, 1.0], [1.0, 2.0, 3.0]]),
        ([[1], [2]], [[1.0], [2.0]]),
    ],
)
def test_strengths(given, want):
    entry = {"seed": 1, "subspace": ["a.npz", "b.npz"], "strength": given}
    (item,) = items_of([entry], "edit", frames=3)
    assert item.entry["strength"] == want


def test_lists_in_tables(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text('picture,subspace,strength\na.png,a.npz;b.npz,"0,1;2,3"\nb.png,a.npz,5\n')
    first, second = read_items(read_entries(str(path)), "edit", {})
    assert first.entry["subspace"] == ["a.npz", "b.npz"]
    assert first.entry["strength"] == [[0.0, 1.0], [2.0, 3.0]]
    assert second.entry["subspace"] == ["a.npz"] and second.entry["strength"] == [[5.0]]


@pytest.mark.parametrize(
    ("kind", "entry", "words"),
    [
        ("sample", {}, "sample wants one of seed, latent"),
        ("sample", {"seed": 1, "latent": "a.npz"}, "got seed and latent"),
        ("sample", {"picture": "a.png"}, "got picture"),
        ("sample", {"sed": 1}, "unknown field 'sed'"),
        ("sample", {"seed": -1}, "seed is -1"),
        ("sample", {"seed": True}, "seed is True"),
        ("sample", {"seed": 1.5}, "seed is 1.5"),
        ("sample", {"seed": 1, "trunc": "much"}, "trunc is 'much'"),
        ("sample", {"seed": 1, "trunc": 9}, "trunc is 9"),
        ("sample", {"seed": 1, "motion": "smile"}, "'motion' is of no use"),
        ("sample", {"latent": "a.npz", "trunc": 1}, "'trunc' is of no use"),
        ("sample", {"seeds": "9-1"}, "backwards"),
        ("sample", {"latents": "missing.npz"}, "no such file"),
        ("invert", {"pictures": "none-*.png"}, "no picture matches"),
        ("extract", {"seed": 1, "motion": "smirk"}, "known are smile"),
        ("extract", {"seed": 1, "text": "a smile"}, "{degree}"),
        ("extract", {"seed": 1, "text": "{degree} x", "motion": "smile"}, "one of them"),
        ("extract", {"seed": 1, "degrees": "one"}, "degrees is"),
        ("edit", {"seed": 1, "strength": 1}, "wants a subspace"),
        ("edit", {"seed": 1, "subspace": "a.npz"}, "wants a strength"),
        ("edit", {"seed": 1, "subspace": "a.npz", "strength": [[1], [2]]}, "one for all"),
        ("edit", {"seed": 1, "subspace": "a.npz", "strength": "x"}, "not a number"),
        ("edit", {"seed": 1, "subspace": "a.npz", "strength": None}, "strength"),
        ("edit", {"seed": 1, "subspace": [], "strength": 1}, "empty list"),
    ],
)
def test_bad_entries(kind, entry, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        items_of([entry], kind)
    assert str(caught.value).startswith("here: ") and words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("m.jsonl", b'{"seed": 1}\n{"seed": \n', "line 2 is not json"),
        ("m.jsonl", b"[1]\n", "line 1: want an object"),
        ("m.jsonl", b"\xff\xfe\n", "not UTF-8"),
        ("m.csv", b"seed,trunc\n1,1\n2\n", "line 3 has not as many cells"),
        ("m.csv", b"seed\n1,2\n", "line 2 has not as many cells"),
    ],
)
def test_bad_files(name, content, words, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        list(read_entries(str(tmp_path / name)))


def test_no_files(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        list(read_entries(str(tmp_path / "m.jsonl")))
    with pytest.raises(UsageError, match=r"\.jsonl or a \.csv"):
        list(read_entries("m.txt"))


def test_an_explicit_prompt_replaces_the_default_motion():
    (item,) = items_of([{"seed": 1, "text": "{degree} beard"}], "extract")
    assert "motion" not in item.entry and item.entry["text"] == "{degree} beard"
