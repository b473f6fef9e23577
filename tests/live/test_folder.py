"""The live face of a run's report: its files, and what is refused."""

from __future__ import annotations

import base64
import dataclasses
import json

import numpy as np
import onnxruntime
import pytest

import mm_jax
from mm_jax.artifacts import Latents
from mm_jax.errors import UsageError
from mm_jax.live import folder, page, runtime
from mm_jax.live.options import LiveOptions
from mm_jax.runs import RunFolder

LIVE = LiveOptions(live=True)


def unpacked(path):
    """The content of a file that is a script."""
    head, text, tail = path.read_text().split('"')
    assert (head, tail) == ("livePacked(", ");\n")
    return base64.b64decode(text)


@pytest.fixture
def motion(tiny_generator):
    ws = np.asarray(mm_jax.sample_latents(tiny_generator, seeds=[5, 6]))
    anchors = mm_jax.Anchors(ws=ws, start=ws[0], degrees=np.array([0.0, 1.0]))
    found = mm_jax.extract_subspace(anchors, method="svd")
    return dataclasses.replace(found, meta={"template": "a person with {degree} smile"})


def test_a_report_gets_files_that_draw_its_faces(random_generator, motion, fake_runtime, tmp_path):
    gen = random_generator
    ws = np.asarray(mm_jax.sample_latents(gen, seeds=[0, 1])) + np.arange(6)[:, None] / 10
    run = RunFolder(tmp_path / "run", "mm_edit", {}, [])
    args = run, LIVE, gen, Latents(ws.astype(np.float32), ("me", "you")), [motion]
    (tmp_path / "run").mkdir()
    run.file("report.html").write_text("without")
    text = folder.add_live(*args, strengths=[[0.0, 3.0]])
    assert 'name="smile"' in text and "<option>me</option>" in text and 'max="3.00"' in text
    assert not run.file("report.html").exists()
    assert not run.missing(folder.live_files(LIVE))
    held = {f"live/{file.name}" for file in (tmp_path / "run/live").iterdir()}
    assert held == set(folder.live_files(LIVE))
    for module, program in runtime.RUNTIMES.values():
        for name in (module, f"{program}.gz"):
            content = unpacked(tmp_path / f"run/live/{name}.js")
            assert content == (fake_runtime / name).read_bytes()
    told = json.loads(unpacked(tmp_path / "run/live/latents.json.js"))
    faces = np.frombuffer(base64.b64decode(told["faces"]), "<f4").reshape(2, 6, 12)
    session = onnxruntime.InferenceSession(
        unpacked(tmp_path / "run/live/generator.onnx.js"), providers=["CPUExecutionProvider"]
    )
    (image,) = session.run(["image"], {"ws": faces})
    wanted = np.asarray(mm_jax.synthesize(gen, ws.astype(np.float32)))
    np.testing.assert_allclose(np.asarray(image).transpose(0, 2, 3, 1), wanted, atol=1e-3)
    # Once it is there, with its report, nothing is done.
    run.file("report.html").write_text("with")
    assert folder.add_live(*args) == "" and run.file("report.html").read_text() == "with"
    assert folder.add_live(run, LiveOptions(), gen, args[3], [motion]) == ""


def test_it_writes_nothing_into_the_page_that_could_end_a_script(motion):
    evil = dataclasses.replace(motion, meta={"template": "</script>{degree}<b>"})
    assert folder.motion_titles([evil]) == ["</script> <b>"]
    data = {
        "resolution": 16,
        "motions": [{"name": "</script>", "title": "<b>", "low": 0, "high": 1}],
    }
    sizes = {name: 1 for names in page.loaded_files().values() for name in names}
    text = page.markup("live/", data, sizes, faces=["</script>"])
    assert text.count("</script>") == 1 and "<b>" not in text


def test_motions_have_different_names(motion):
    known = [
        {"template": "{degree} angry"},
        {"template": "{degree} angry"},
        {"template": "a {degree} red nose"},
        {"source": "video", "clip": "turn.mp4"},
        {},
    ]
    some = [dataclasses.replace(motion, meta=meta) for meta in known]
    assert folder.motion_titles(some) == ["anger", "anger 2", "a red nose", "turn", "motion"]


def test_what_a_browser_cannot_draw_is_refused(tiny_generator, fake_runtime, monkeypatch):
    config = tiny_generator.config
    folder.check_live(LIVE, config)
    folder.check_live(LiveOptions(), config, noise_mode="none")
    with pytest.raises(UsageError, match=r"own noise, not --noise_mode=none"):
        folder.check_live(LIVE, config, noise_mode="none")
    large = dataclasses.replace(config, resolution=512, channels=(8,) * 8)
    with pytest.raises(UsageError, match=r"at most 256 px, got 512"):
        folder.check_live(LIVE, large)
    with pytest.raises(UsageError, match=r"--live_runtime does nothing without --live"):
        LiveOptions(runtime="there.tgz")
    assert folder.live_files(LiveOptions()) == []
