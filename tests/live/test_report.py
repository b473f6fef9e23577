"""mm_edit --live: the report, opened from its folder, moves the faces as Python does."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest

import mm_jax
from bin import mm_edit
from mm_jax import media, zoo
from mm_jax.errors import UsageError
from mm_jax.live import runtime
from tests.live import browser
from tests.live.browser import names_of, opened, settle, shown, slide

SEEDS = [100, 104]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of mm_edit on two faces of the bundled generator."""
    if shutil.which("npm") is None:
        pytest.skip("no npm")
    try:
        runtime.open_runtime()
    except UsageError as error:
        pytest.skip(str(error))
    outdir = tmp_path_factory.mktemp("runs") / "live"
    seeds = ",".join(map(str, SEEDS))
    args = f"--seeds={seeds} --strength=0:1 --frames=2 --format=png --layers=2-11 --live --keep"
    motions = ["--subspace=smile", "--subspace=head_turn"]
    status = mm_edit.main(["mm_edit", *motions, *args.split(), f"--outdir={outdir}"])
    assert status == 0
    return outdir


@pytest.fixture(scope="module")
def drawn_by_python():
    gen = mm_jax.load_generator("people")
    motions = [mm_jax.load_subspace(zoo.bundled_motions(gen)[n]) for n in ("smile", "head_turn")]
    ws = np.asarray(mm_jax.sample_latents(gen, seeds=SEEDS, truncation_psi=0.7))

    def draw(face, strengths):
        amounts = [[value] for value in strengths.values()]
        one = ws[face["first"]][None]
        moved = np.asarray(mm_jax.apply_edit(one, motions, amounts, layers=range(2, 12)))[0]
        return media.to_uint8(np.asarray(mm_jax.synthesize(gen, moved)))[0].astype(np.int32)

    return draw


@pytest.mark.slow
def test_a_report_from_a_folder_moves_faces(folder, drawn_by_python, tmp_path):
    # Elsewhere, as one would send it to somebody.
    report = shutil.copytree(folder, tmp_path / "sent to you") / "report.html"
    with browser.chrome() as chrome, opened(chrome, report.as_uri()) as page:
        fetched, said = [], []
        page.on("request", lambda request: fetched.append(request.url))
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        assert page.get_attribute(".live", "data-state") == "still"
        assert page.is_visible(".live img") and page.is_visible(".live input")
        first, second = names_of(page)
        assert (first, second) == ("smile", "head_turn")
        slide(page, first, 0.8)
        slide(page, second, -0.5)
        settle(page)
        face, strengths, image = shown(page)
        assert strengths == {first: 0.8, second: -0.5} and face["first"] == 0
        assert np.abs(image - drawn_by_python(face, strengths)).max() <= 2
        page.select_option(".live select", index=1)
        settle(page)
        face, strengths, other = shown(page)
        assert face["first"] == 1 and np.abs(image - other).max() > 20
        assert np.abs(other - drawn_by_python(face, strengths)).max() <= 2
        page.click(".live-reset")
        settle(page)
        face, strengths, still = shown(page)
        assert set(strengths.values()) == {0}
        assert np.abs(still - drawn_by_python(face, strengths)).max() <= 2
        assert fetched and all(url.startswith(("file:", "blob:", "data:")) for url in fetched)
        assert not [line for line in said if line.startswith("error")]


@pytest.mark.slow
def test_without_a_file_it_says_so(folder, tmp_path):
    sent = shutil.copytree(folder, tmp_path / "sent")
    (sent / "live/generator.onnx.js").unlink()
    with browser.chrome() as chrome, opened(chrome, (sent / "report.html").as_uri()) as page:
        page.click(".live-reset")
        page.wait_for_selector('.live[data-state="stopped"]')
        assert "(generator.onnx.js was not found)" in page.inner_text(".live-status")
        assert page.is_visible(".live img") and not page.is_visible(".live progress")


@pytest.mark.slow
def test_it_is_added_to_a_run_that_is_done(folder, capsys):
    report = (folder / "report.html").read_text()
    assert 'class="live"' in report
    shutil.rmtree(folder / "live")
    strip = (folder / "seed0100_strip.png").stat().st_mtime_ns
    args = (
        f"--seeds={','.join(map(str, SEEDS))} --strength=0:1 --frames=2 --format=png --layers=2-11"
    )
    motions = ["--subspace=smile", "--subspace=head_turn"]
    command = ["mm_edit", *motions, *args.split(), f"--outdir={folder}"]
    assert mm_edit.main([*command, "--live", "--keep"]) == 0, capsys.readouterr().err
    assert (folder / "live/generator.onnx.js").exists()
    # All but what the run cost, which is less the second time.
    cost = re.compile(r'<table><thead><tr><th scope="col"[^>]*>stage.*?</figcaption>', re.DOTALL)
    assert cost.search(report)
    assert cost.sub("", (folder / "report.html").read_text()) == cost.sub("", report)
    assert (folder / "seed0100_strip.png").stat().st_mtime_ns == strip
