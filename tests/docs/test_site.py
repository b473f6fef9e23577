"""The site as it is built: whole, strict, and with nothing fetched from elsewhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from docs import pages
from tests.docs.markdown import ROOT

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
