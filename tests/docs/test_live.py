"""The live face: what is made for it, and its pictures in Chromium beside those of Python."""

from __future__ import annotations

import functools
import http.server
import itertools
import json
import re
import shutil
import threading

import numpy as np
import pytest

import mm_jax
from docs import live
from mm_jax import media, zoo
from mm_jax.live import runtime
from tests.docs.markdown import ROOT
from tests.live import browser
from tests.live.browser import names_of, opened, settle, shown, slide
from tests.live.fake_npm import make_npm


@pytest.fixture
def build(tmp_path):
    """A build with files of some bytes."""
    motions = [
        {"name": "smile", "title": "Smile", "low": -2.0, "high": 2.0},
        {"name": "x", "title": "<x>", "low": -0.6666, "high": 1 / 3},
    ]
    files = {"world": ["generator.onnx", "still.png"], "runtime": []}
    for module, program in runtime.RUNTIMES.values():
        files["runtime"] += [module, f"{program}.gz"]
    for part, names in files.items():
        (tmp_path / part).mkdir()
        for name in [*names, "made.json"]:
            (tmp_path / part / name).write_bytes(b"x" * 700_000)
    data = {"resolution": 64, "motions": motions}
    (tmp_path / "world/latents.json").write_text(json.dumps(data))
    return tmp_path


def test_the_page_has_a_slider_for_each_motion(build):
    text = live.markup("deep/page.md", build)
    assert "\n" not in text
    assert re.findall(r'name="(\w+)" min="(\S+)" max="(\S+)"', text) == [
        ("smile", "-2.00", "2.00"), ("x", "-0.67", "0.33"),
    ]  # fmt: skip
    assert "<span>&lt;x&gt;</span>" in text and "(2 MB)" in text
    assert 'src="../assets/live/live.js"' in text and 'data-base="../assets/live/"' in text
    assert set(live.built_files(build)) >= {"assets/live/generator.onnx", "assets/live/still.png"}
    assert not [path for path in live.built_files(build) if path.endswith("made.json")]


def test_without_a_part_the_page_has_a_picture(build):
    shutil.rmtree(build / "runtime")
    assert live.built_files(build) == {}
    text = live.markup("live.md", build)
    assert "./demo.webp" in text and "<script" not in text


def test_the_page_of_the_live_face_has_it():
    assert live.MARKER in (ROOT / "docs/live.md").read_text()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (None, "npm is not installed"),
        (
            "echo offline >&2; exit 1",
            f"npm could not fetch onnxruntime-web {runtime.VERSION} (offline)",
        ),
    ],
)
def test_without_npm_one_line_says_so(tmp_path, monkeypatch, capsys, script, said):
    path = str(tmp_path) if script is None else make_npm(tmp_path / "bin", script)
    monkeypatch.setenv("PATH", path)
    monkeypatch.setattr(live, "BUILD", tmp_path / "live")
    assert live.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"The live face is left out of the site: {said}"
    assert live.built_files(tmp_path / "live") == {}


# In a browser.


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a page of the live face alone, from the real build."""
    if shutil.which("npm") is None:
        pytest.skip("no npm")
    assert live.main() == 0
    files = live.built_files()
    if not files:
        pytest.skip("npm does not reach its registry")
    site = tmp_path_factory.mktemp("site")
    (site / live.SITE).mkdir(parents=True)
    for name, file in files.items():
        shutil.copy(file, site / name)
    head = (
        '<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    )
    (site / "live.html").write_text(head + live.markup("live.md"))
    return site


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        """Say nothing."""


@pytest.fixture(scope="module")
def address(folder):
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/live.html"
        server.shutdown()


@pytest.fixture(scope="module")
def chrome():
    with browser.chrome() as own:
        yield own


@pytest.fixture(scope="module")
def drawn_by_python():
    gen = mm_jax.load_generator(live.GENERATOR)
    motions = {n: mm_jax.load_subspace(file) for n, file in zoo.bundled_motions(gen).items()}

    def draw(face, strengths):
        pair = [live.SEEDS[face["first"]], live.SEEDS[face["second"]]]
        ws = np.asarray(mm_jax.sample_latents(gen, seeds=pair, truncation_psi=live.PSI))
        mean = np.asarray(mm_jax.mean_latent(gen))
        angle = face["angle"]
        one = mean + np.cos(angle) * (ws[:1] - mean) + np.sin(angle) * (ws[1:] - mean)
        assert set(strengths) == set(motions)
        edits = [motions[name] for name in strengths]
        amounts = [[value] for value in strengths.values()]
        moved = np.asarray(mm_jax.apply_edit(one, edits, amounts))[0]
        return media.to_uint8(np.asarray(mm_jax.synthesize(gen, moved)))[0].astype(np.int32)

    return draw


@pytest.mark.slow
def test_pictures_are_those_of_python(chrome, address, drawn_by_python):
    with opened(chrome, f"{address}?live=wasm") as page:
        loaded = []
        page.on("requestfinished", lambda request: loaded.append(request.sizes()))
        first, *_, last = names_of(page)
        strongest = page.eval_on_selector_all(
            f"[name={first}], [name={last}]", "all => all.map((i) => [i.max, i.min].map(Number))"
        )
        pictures = []
        for face in range(2):
            if face:
                page.click(".live-new")
            for which in range(2):
                slide(page, first, strongest[0][which])
                slide(page, last, strongest[1][1 - which])
                settle(page)
                own, strengths, image = shown(page)
                assert own["first"] == face and strengths[first] == strongest[0][which]
                assert np.abs(image - drawn_by_python(own, strengths)).max() <= 2
                pictures.append(image)
        assert min(np.abs(a - b).max() for a, b in itertools.pairwise(pictures)) > 20
        for _ in range(len(live.SEEDS)):
            page.click(".live-new")
        settle(page)
        own, strengths, image = shown(page)
        assert own["angle"] > 0
        assert np.abs(image - drawn_by_python(own, strengths)).max() <= 2
        took = []
        for i in range(12):
            slide(page, first, 0.1 + 0.02 * i)
            settle(page)
            took.append(float(page.get_attribute(".live", "data-milliseconds")))
        told = int(page.get_attribute(".live", "data-bytes"))
        fetched = sum(each["responseBodySize"] for each in loaded)
        print(f"{np.median(took):.0f} ms a picture, {told:,} bytes, {fetched:,} with the scripts")
        # The runtime's own module is imported, and not among the files that the worker counts.
        assert told < fetched < 15e6


@pytest.mark.slow
def test_pictures_of_webgpu_are_those_of_python(chrome, address, drawn_by_python):
    with opened(chrome, f"{address}?live=webgpu") as page:
        if not page.evaluate("() => navigator.gpu?.requestAdapter().then(Boolean)"):
            pytest.skip("this Chromium has no WebGPU")
        for press in (names_of(page)[0], None):
            if press is None:
                page.click(".live-new")
            else:
                slide(page, press, 0.5)
            settle(page)
            face, strengths, image = shown(page)
            assert np.abs(image - drawn_by_python(face, strengths)).max() <= 2
        assert page.get_attribute(".live", "data-device") == "webgpu"


@pytest.mark.slow
def test_only_the_newest_wish_is_drawn(chrome, address, drawn_by_python):
    with opened(chrome, address) as page:
        name = names_of(page)[0]
        assert page.get_attribute(".live", "data-state") == "still"
        page.evaluate(
            """() => {
              window.drawn = 0;
              const watcher = new MutationObserver(() => (window.drawn += 1));
              const wanted = { attributeFilter: ["data-seq"] };
              watcher.observe(document.querySelector(".live"), wanted);
            }"""
        )
        for i in range(60):
            slide(page, name, 0.05 + 0.01 * i)
        settle(page)
        for i in range(60):
            slide(page, name, 0.64 - 0.01 * i)
        settle(page)
        assert page.get_attribute(".live", "data-asked") == "120"
        assert 2 <= page.evaluate("window.drawn") < 60
        face, strengths, image = shown(page)
        assert strengths[name] == 0.05
        assert np.abs(image - drawn_by_python(face, strengths)).max() <= 2
        page.click(".live-reset")
        settle(page)
        assert set(shown(page)[1].values()) == {0}
        assert set(page.locator(".live output").all_inner_texts()) == {"0.00"}


@pytest.mark.slow
def test_a_phone(chrome, address):
    phone = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
    with opened(chrome, address, **phone) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.locator(".live input").last.scroll_into_view_if_needed()
        face = page.locator(".live-stage").bounding_box()
        assert face["y"] >= 0 and face["y"] + face["height"] < 500  # it stays in sight
        for box in (page.locator(".live input").nth(i).bounding_box() for i in range(5)):
            assert box["width"] > 200 and box["height"] >= 20


@pytest.mark.slow
def test_where_it_cannot_run_it_says_so(chrome, address, folder):
    stands = "The picture stands still: "
    with opened(chrome, f"file://{folder}/live.html") as page:
        assert page.inner_text(".live-status").startswith(f"{stands}browsers load no models")
        assert page.is_visible(".live img") and not page.is_visible(".live input")
    with opened(chrome, address) as page:
        page.context.route("**/generator.onnx", lambda route: route.fulfill(status=404))
        page.click(".live-new")
        page.wait_for_selector('.live[data-state="stopped"]')
        assert "(generator.onnx: 404)" in page.inner_text(".live-status")
        assert page.is_visible(".live img") and not page.is_visible(".live progress")
