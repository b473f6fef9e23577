"""What `mm_edit` makes of sessions, and of bundled motions by name."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from mm_jax import io, zoo
from mm_jax.artifacts import save_subspace
from mm_jax.studio import exports, session_files
from mm_jax.studio.document import Face
from mm_jax.studio.frames import draw
from tests.studio.conftest import D, L, subspace


@pytest.fixture
def saved(session, tmp_path, monkeypatch):
    """A session in a file, with a sampled face and a foreign one."""
    monkeypatch.chdir(tmp_path)
    ws = np.random.default_rng(3).standard_normal((L, D)).astype(np.float32)
    document = session.document.add_face(Face("me", ws, {"kind": "file"}))
    document = document.change("smile", strength=0.75).change("beard", strength=-0.5, layers=(1, 2))
    text = session_files.dump(document, session.world.gen)
    (tmp_path / exports.SESSION).write_text(text)
    return document


def test_the_one_picture_is_the_studios(session, saved, binary, tmp_path, capsys):
    words = exports.command_line(saved).split()
    assert words[1:3] == ["--session=studio.json", "--frames=1"]
    assert binary(*words) == 0
    assert "report.html" in capsys.readouterr().out
    wanted = draw(session.world.gen, saved.faces, saved.edited())
    for face, image in zip(saved.faces, wanted, strict=True):
        got = np.asarray(Image.open(tmp_path / f"runs/studio/{face.name}/frame0000.png"))
        assert np.abs(got.astype(int) - image).max() <= 1


def test_the_animation_has_the_sessions_length(saved, binary, tmp_path):
    assert binary("mm_edit", "--session=studio.json", "--format=npy", "--outdir=out") == 0
    frames = np.load(tmp_path / "out" / "me.npy")
    assert len(frames) == round(saved.seconds * saved.fps)


def test_bad_calls_are_refused(saved, binary, tmp_path, capsys):
    assert binary("mm_edit", "--session=studio.json", "--seeds=3", "--outdir=out") == 2
    assert "--seeds does nothing beside --session" in capsys.readouterr().err
    assert binary("mm_edit", "--session=none.json", "--outdir=out") == 1
    assert "cannot read none.json" in capsys.readouterr().err
    values = json.loads((tmp_path / "studio.json").read_text())
    (tmp_path / "empty.json").write_text(json.dumps({**values, "faces": [], "chosen": 0}))
    assert binary("mm_edit", "--session=empty.json", "--outdir=out") == 1
    assert "holds no face" in capsys.readouterr().err


@pytest.fixture
def bundle(tiny_generator, tmp_path, monkeypatch):
    """An installation with a motion of the tiny generator and one of another."""
    assets = tmp_path / "assets"
    monkeypatch.setattr(zoo, "ASSETS", assets)
    name = next(name for name, kind in zoo.BUNDLED.items() if kind == "motions")
    own = subspace(0, fingerprint=tiny_generator.fingerprint)
    save_subspace(assets / name / "wink.npz", own)
    save_subspace(assets / name / "other.npz", subspace(1, fingerprint="another"))
    zoo.record(name)
    return assets / name


def test_bundled_motions_are_those_of_the_generator(bundle, tiny_generator):
    assert zoo.bundled_motions(tiny_generator) == {"wink": bundle / "wink.npz"}
    assert zoo.companion(bundle.name.removesuffix("-motions"), "motions") == bundle.name
    assert zoo.companion("no such", "motions") is None
    io.write_json(bundle / "wink.json", {})
    with pytest.raises(zoo.DataError, match="damaged"):
        zoo.bundled_motions(tiny_generator)


def test_a_bundled_motion_is_taken_by_name(bundle, studio_dir, binary, tmp_path, capsys):
    flags = [f"--generator={studio_dir / 'tiny'}", "--seeds=3", "--frames=2", "--format=png"]
    assert binary("mm_edit", *flags, "--subspace=wink", f"--outdir={tmp_path / 'out'}") == 0
    assert (tmp_path / "out/seed0003/frame0001.png").exists()
    capsys.readouterr()
    assert binary("mm_edit", *flags, "--subspace=blink", f"--outdir={tmp_path / 'more'}") == 2
    assert "'blink'" in (err := capsys.readouterr().err) and "wink" in err
