"""`docs/file-formats.md` against files that the code writes."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

import numpy as np
import pytest

import mm_jax
from mm_jax import checkpoints, deltas, io, runs, zoo
from mm_jax.anchors.readback import ReadBack
from mm_jax.batch.manifest import item_of
from mm_jax.batch.pipeline import Failed
from mm_jax.demo.run import METRICS
from mm_jax.editing.verdict import EditVerdict
from mm_jax.faces.judge import FaceEdit
from mm_jax.inversion import folder as inversions
from mm_jax.inversion.invert import Inversion
from mm_jax.inversion.judge import Likeness
from mm_jax.studio import session_files
from mm_jax.studio.document import Document, StudioMotion
from tests.docs.markdown import ROOT

PAGE = (ROOT / "docs/file-formats.md").read_text()
SIZES = {"N": 2, "L": 6, "D": 12, "M": 3, "K": 1, "T": 4, "R": 3, "C": 5}


def section(heading: str) -> str:
    """The text below a heading, up to the next one."""
    found = re.search(rf"^##+ {re.escape(heading)}\n(.*?)(?=^##|\Z)", PAGE, re.M | re.S)
    assert found, heading
    return found[1]


def rows(heading: str, table: int = 0) -> list[list[str]]:
    """The cells of a table below a heading."""
    tables = re.findall(r"(?:^\|.*\n)+", section(heading), re.M)
    return [line.strip("| ").split(" | ") for line in tables[table].splitlines()[2:]]


def keys(heading: str, table: int = 0) -> set[str]:
    """The names of a table of keys, of which those that are optional are left out."""
    listed = rows(heading, table)
    return {row[0].strip("`") for row in listed if not row[-1].endswith("Optional")}


def check_arrays(heading: str, file: Path) -> None:
    """See that a file holds the arrays of a table, each of its shape and dtype."""
    listed = {row[0].strip("`"): row for row in rows(heading)}
    with np.load(file) as stored:
        # LAYER stands for any layer.
        named = {re.sub(r"^(style\.).*", r"\1LAYER", name): stored[name] for name in stored}
    assert set(named) == set(listed)
    for name, array in named.items():
        shape, dtype = listed[name][1:3]
        assert array.shape == tuple(SIZES.get(n) or int(n) for n in re.findall(r"\w+", shape))
        kind = "text" if array.dtype.kind == "U" else str(array.dtype)
        assert kind == dtype, (heading, name)


@functools.cache
def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.fixture(scope="module")
def subspace():
    ws = random(3, 6, 12)
    anchors = mm_jax.Anchors(ws, np.zeros((6, 12)), np.arange(3.0), {"source": "text"})
    return mm_jax.extract_subspace(anchors, method="svd")


def test_latents(tmp_path):
    latents = mm_jax.Latents(random(2, 6, 12), names=("a", "b"), seeds=(0, 1))
    check_arrays("`latents.npz`", mm_jax.save_latents(tmp_path / "latents.npz", latents))


def test_latents_of_an_inversion(tmp_path):
    found = Inversion(
        random(2, 6, 12), random(2, 8, 8, 3), random(2, 4), random(2), {"b4.conv1": random(2, 5)}
    )
    file = io.save_npz(tmp_path / "a.npz", **inversions.arrays_of(found, 0))
    check_arrays("`codes/NAME.npz`", file)
    assert mm_jax.load_latents(file).ws.shape == (1, 6, 12)


def test_anchors(tmp_path):
    anchors = mm_jax.Anchors(random(3, 6, 12), random(6, 12), np.arange(3.0))
    check_arrays("`anchors_NAME.npz`", mm_jax.save_anchors(tmp_path / "anchors.npz", anchors))
    assert (tmp_path / "anchors.json").exists()


def test_subspaces(tmp_path, subspace):
    file = mm_jax.save_subspace(tmp_path / "subspace.npz", subspace)
    check_arrays("`subspace.npz`", file)
    text = section("`subspace.npz`")
    described = json.loads((tmp_path / "subspace.json").read_text())
    assert "effective_rank" in described
    assert [key for key in described if key != "source" and f"`{key}`" not in text] == []


def test_read_back():
    found = ReadBack(strengths=np.linspace(-1, 1, 5), readings=random(4, 5), controls=random(3, 5))
    # `mirrored` is added where the file is written.
    assert keys("`readback.json`") == {*found.to_dict(), "mirrored"}


def test_verdicts():
    likeness = Likeness(psnr=20.0, laplacian=0.1, from_mean=1.0)
    assert keys("`errors.json`") == {*likeness.to_dict(), "loss", "pulled", "tuned"}
    edit = EditVerdict({"a": FaceEdit(True, 0.1, {}, (), ())}, [None])
    assert keys("`verdict.json`") == set(edit.to_dict())
    text = section("`truth.json`")
    assert [name for name in METRICS if f"`{name}`" not in text] == []


def test_sessions(tiny_generator, subspace):
    gen = tiny_generator
    motion = StudioMotion("smile", subspace, {"kind": "file"})
    document = Document(gen.name).add_motion(motion).add_face(session_files.sampled(gen, 3))
    values = json.loads(session_files.dump(document, gen))
    assert keys("Session") == set(values)
    assert dict(rows("Session"))["`kind`"] == f'"{session_files.KIND}"'
    assert dict(rows("Session"))["`version`"] == str(session_files.VERSION)
    text = section("Session")
    held = values["motions"][0]
    described = [*values["faces"][0], *values["faces"][0]["source"], *held, *held["subspace"]]
    shared = {one[0].strip("`") for one in rows("`subspace.npz`")}
    words = set(re.findall(r"\w+", text)) | shared
    assert [key for key in described if key not in words] == []
    assert set(held["subspace"]["basis"]) == {"shape", "base64"}


def test_folders_of_networks(tmp_path, tiny_generator):
    folder = mm_jax.save_generator(tiny_generator, tmp_path / "gen")
    config = json.loads((folder / "config.json").read_text())
    assert keys("`config.json` of a network") == set(config)
    assert keys("`config.json` of a network", 1) == set(config["architecture"])
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "params.safetensors"]
    kinds = dict(rows("`config.json` of a network"))["`kind`"]
    loaded = set(zoo.BUNDLED.values()) - {"clip", "motions", "renders", "videos"}
    assert {deltas.KIND, "arcface", "lpips", *loaded} == set(re.findall(r'"(\w+)"', kinds))
    version = dict(rows("`config.json` of a network"))["`format_version`"]
    assert version.startswith(f"{checkpoints.FORMAT_VERSION}.")


def test_run_folders(tmp_path):
    run = runs.RunFolder.open(tmp_path / "run", command="mm_x", settings={}, outputs=["a"])
    assert keys("`config.json` of a run") == set(json.loads(run.file("config.json").read_text()))


def test_journals():
    listed = dict(rows("Manifests and journals"))
    item = item_of("sample", {"seed": 1}, {"trunc": 0.7})
    record = Failed(item, "why").record()
    assert re.findall(r"`(\w+)`", listed["`failed.jsonl`"]) == list(record)
    assert re.findall(r"`(\w+)`", listed["`journal.jsonl`"]) == [*list(record)[:2], "files"]
    assert f"{len(item.id)} hexadecimal" in listed["`journal.jsonl`"]


def test_other_tables_would_be_found(tmp_path):
    latents = mm_jax.Latents(random(2, 6, 12), names=("a", "b"))
    with pytest.raises(AssertionError):
        check_arrays("`latents.npz`", mm_jax.save_latents(tmp_path / "latents.npz", latents))
