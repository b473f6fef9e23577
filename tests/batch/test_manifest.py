"""Manifests to items: one meaning however it is written, and one line for each mistake."""

import csv
import hashlib
import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_jax.batch.manifest import ItemList, read_entries, read_items
from mm_jax.errors import DataError, UsageError

DEFAULTS = {"trunc": 0.7, "degrees": "no,50%,100%", "motion": "smile"}
EDIT = {"trunc": 0.7, "subspace": "a.npz", "strength": 1}


def items_of(entries, task="sample", defaults=DEFAULTS, **options):
    return list(read_items((("here", e) for e in entries), task, defaults, **options))


def test_defaults_and_what_an_entry_says():
    plain, own = items_of([{"seed": 3}, {"seed": 3, "trunc": 1, "name": "ann"}])
    assert plain.entry == {"seed": 3, "trunc": 0.7}
    assert own.entry == {"seed": 3, "trunc": 1.0, "name": "ann"}
    assert plain.file(".png") == f"{plain.id[:2]}/{plain.id}.png"
    (stored,) = items_of([{"latent": "a.npz", "index": 2}])
    assert stored.entry == {"latent": "a.npz", "index": 2}


def test_ids_depend_on_the_meaning_alone():
    entries = [{"seed": 3}, {"seed": 4}, {"seed": 3, "trunc": 0.5}, {"seed": 3, "name": "x"}]
    ids = [item.id for item in items_of(entries)]
    assert len(set(ids)) == 4 and all(len(id) == 24 for id in ids)
    assert ids[0] == items_of([{"trunc": 0.7, "seed": 3}], defaults={})[0].id
    assert ids[0] != items_of([{"seed": 3}], "extract")[0].id
    # Ids name files, so they must not change from one version to the next.
    canonical = b'{"kind":"sample","seed":3,"trunc":0.7}'
    assert ids[0] == hashlib.sha256(canonical).hexdigest()[:24]


@pytest.mark.parametrize(
    ("task", "entry", "earlier", "hashed"),
    [
        ("invert", {"image": "a.png"}, {"picture": "a.png"}, '{"kind":"invert","picture":"a.png"}'),
        (
            "sample",
            {"latent": "a.npz", "index": 2},
            {"latent": "a.npz", "code": 2},
            '{"code":2,"kind":"sample","latent":"a.npz"}',
        ),
    ],
)
def test_earlier_names_of_fields_mean_the_same(task, entry, earlier, hashed):
    (item,) = items_of([entry], task)
    assert [item] == items_of([earlier], task)
    assert item.entry == entry
    assert item.id == hashlib.sha256(hashed.encode()).hexdigest()[:24]


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
    # Items are not collected first, so there may be any number.
    many = read_items([("here", {"seeds": "0-4000000000"})], "sample", DEFAULTS)
    assert [item.entry["seed"] for item in itertools.islice(many, 3)] == [0, 1, 2]


def test_latents_and_images_of_files(tmp_path):
    np.savez(tmp_path / "two.npz", ws=np.zeros((2, 6, 12), np.float32))
    latents = items_of([{"latents": str(tmp_path / "two.npz")}])
    assert [item.entry["index"] for item in latents] == [0, 1]
    for name in ("a.png", "b.JPG", ".hidden.png", "notes.txt", "deep/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def names(text):
        found = items_of([{"images": text}], "invert")
        return {item.entry["image"].removeprefix(f"{tmp_path}/") for item in found}

    assert names(str(tmp_path)) == {"a.png", "b.JPG"}
    assert names(f"{tmp_path}/*.png") == {"a.png"}
    assert names(f"{tmp_path}/**/*.png") == {"a.png", "deep/c.png"}
    assert names(f"{tmp_path}/d*/*") == {"deep/c.png"}
    assert names("missing.png") == {"missing.png"}  # an error only when its turn comes


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
    path.write_text('image,subspace,strength\na.png,a.npz;b.npz,"0,1;2,3"\nb.png,a.npz,5\n')
    first, second = read_items(read_entries(str(path)), "edit", {})
    assert first.entry["subspace"] == ["a.npz", "b.npz"]
    assert first.entry["strength"] == [[0.0, 1.0], [2.0, 3.0]]
    assert second.entry["subspace"] == ["a.npz"] and second.entry["strength"] == [[5.0]]


@pytest.mark.parametrize(
    ("task", "entry", "words"),
    [
        ("sample", {}, "sample needs exactly one of seed, latent"),
        ("sample", {"seed": 1, "latent": "a.npz"}, "got seed and latent"),
        ("sample", {"image": "a.png"}, "got image"),
        ("sample", {"sed": 1}, "unknown field 'sed'"),
        ("sample", {"seed": -1}, "seed must be a whole number from 0 to 4294967295, got -1"),
        ("sample", {"seed": True}, "got True"),
        ("sample", {"seed": 1.5}, "got 1.5"),
        ("sample", {"seed": 1, "trunc": "much"}, "trunc must be a number, got 'much'"),
        ("sample", {"seed": 1, "trunc": 9}, "trunc must be a number from -2 to 2, got 9"),
        ("sample", {"seed": 1, "motion": "smile"}, "sample of a seed does not use 'motion'"),
        ("sample", {"latent": "a.npz", "trunc": 1}, "does not use 'trunc'"),
        ("sample", {"seeds": "9-1"}, "backwards"),
        ("sample", {"latents": "missing.npz"}, "no such file"),
        ("invert", {"images": "none-*.png"}, "no image matches"),
        ("extract", {"seed": 1, "motion": "smirk"}, "motion must be one of smile"),
        ("extract", {"seed": 1, "text": "a smile"}, "{degree}"),
        (
            "extract",
            {"seed": 1, "text": "{degree} x", "motion": "smile"},
            "either a motion or a text",
        ),
        ("extract", {"seed": 1, "degrees": "one"}, "degrees"),
        ("edit", {"seed": 1, "strength": 1}, "needs a subspace"),
        ("edit", {"seed": 1, "subspace": "a.npz"}, "needs a strength"),
        ("edit", {"seed": 1, "subspace": "a.npz", "strength": [[1], [2]]}, "one for all"),
        (
            "edit",
            {"seed": 1, "subspace": "a.npz", "strength": "x"},
            "must be LOW:HIGH or a list",
        ),
        ("edit", {"seed": 1, "subspace": "a.npz", "strength": None}, "strength"),
        ("edit", {"seed": 1, "subspace": [], "strength": 1}, "empty list"),
        ("extract", {"seed": 1, "degrees": 5}, "degrees must be a text, got 5"),
        ("extract", {"seed": 1, "text": 5}, "text must be a text, got 5"),
        ("invert", {"image": "a.png", "picture": "a.png"}, "the same field"),
    ],
)
def test_bad_entries(task, entry, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        items_of([entry], task)
    assert str(caught.value).startswith("here: ") and words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("m.jsonl", b'{"seed": 1}\n{"seed": \n', "line 2 is not JSON"),
        ("m.jsonl", b"[1]\n", "line 1 must be an object"),
        ("m.jsonl", b"\xff\xfe\n", "not UTF-8"),
        ("m.csv", b"seed,trunc\n1,1\n2\n", "line 3 must have as many cells"),
        ("m.csv", b"seed\n1,2\n", "line 2 must have as many cells"),
    ],
)
def test_bad_files(name, content, words, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        list(read_entries(str(tmp_path / name)))


def test_no_files(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        list(read_entries(str(tmp_path / "m.jsonl")))
    with pytest.raises(UsageError, match=r"must be a \.jsonl or a \.csv"):
        list(read_entries("m.txt"))


def test_an_explicit_prompt_replaces_the_default_motion():
    (item,) = items_of([{"seed": 1, "text": "{degree} beard"}], "extract")
    assert "motion" not in item.entry and item.entry["text"] == "{degree} beard"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 5)), st.sampled_from([0, 1 << 24]))
def test_a_list_of_items_holds_each_once(seeds, in_memory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mm_jax.batch.manifest._IN_MEMORY", in_memory)
        found = items_of([{"seed": seed} for seed in seeds])
        with ItemList(iter(found)) as items:
            distinct = list({item.id: item for item in found}.values())
            assert len(items) == len(distinct) and not items.images
            # It can be iterated any number of times, also after an unfinished iteration.
            next(iter(items), None)
            assert list(items) == list(items) == distinct


def test_a_list_of_items_knows_of_images_and_of_mistakes():
    with ItemList(items_of([{"seed": 1}, {"image": "a.png"}], "edit", EDIT)) as items:
        assert items.images
    with pytest.raises(DataError, match="here: "):
        ItemList(read_items([("here", {"seed": 1}), ("here", {})], "sample", {}))
