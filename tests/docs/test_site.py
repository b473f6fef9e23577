"""The site as it is built: whole, strict, and with nothing fetched from elsewhere."""

from __future__ import annotations

import functools
import http.server
import json
import re
import subprocess
import sys
import threading

import pytest

from docs import pages
from tests.docs.markdown import ROOT
from tests.live.browser import chrome

# What a browser would fetch on its own; links that a reader follows may lead anywhere.
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|video)[^>]+src=["']?(https?:)?//"""
    r"""|<link[^>]+rel=["']?(?:stylesheet|preconnect|preload)[^>]+href=["']?(https?:)?//"""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    pytest.importorskip("mkdocstrings", reason="the extra docs is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_every_page_is_there_and_fetches_nothing(site):
    written = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").glob("*.md")}
    for page in {*map(str, written), *pages.generated()}:
        text = (site / page).with_suffix(".html").read_text()
        assert not FETCHED.search(text), page
    assert not list(site.rglob("*.py"))


@pytest.mark.slow
def test_api_pages_hold_signatures_and_search_finds_names(site):
    for page, (_, names) in pages.API.items():
        text = (site / f"api/{page}.html").read_text()
        for name in names:
            assert f'id="mm_jax.{name}"' in text, name
    index = json.loads((site / "search/search_index.json").read_text())
    found = {entry["location"] for entry in index["docs"]}
    assert "api/anchors.html#mm_jax.text_anchors" in found
    assert "troubleshooting.html" in found


VIEWS = {
    "light": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
}
LOUD = ("error", "warning")
# The images that are not there, and by how many pixels the page is wider than its window.
SEEN = """async () => {
  const images = [...document.images];
  for (const image of images) image.loading = "eager";
  await Promise.all(images.map((image) => image.complete || new Promise((done) => {
    image.onload = image.onerror = done;
  })));
  const { scrollWidth, clientWidth } = document.documentElement;
  return [images.filter((image) => !image.naturalWidth).map((image) => image.src),
          scrollWidth - clientWidth];
}"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        """Say nothing."""


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("view", VIEWS)
def test_every_page_in_a_browser(site, view):
    """No page lacks an image, says anything in the console, or has to be moved sideways."""
    found = []
    handler = functools.partial(_Quiet, directory=str(site))
    with (
        chrome() as own,
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        context = own.new_context(**VIEWS[view])
        for file in sorted(site.rglob("*.html")):
            name, page, said = file.relative_to(site).as_posix(), context.new_page(), []
            page.on("console", lambda message, said=said: said.append(message))
            page.on("pageerror", lambda error, said=said: said.append(error))
            page.goto(f"http://127.0.0.1:{server.server_port}/{name}")
            missing, sideways = page.evaluate(SEEN)
            told = [str(one) for one in said if getattr(one, "type", "error") in LOUD]
            if missing or sideways > 0 or told:
                found.append((name, missing, sideways, told))
            page.close()
        context.close()
        server.shutdown()
    assert found == []
