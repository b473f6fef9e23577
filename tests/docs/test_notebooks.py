"""Notebooks: as they are in the repository, and as pages. `make notebooks` runs them."""

from __future__ import annotations

import ast
import base64
import json

import pytest

from docs import notebooks
from tests.docs.markdown import ROOT
from tests.docs.test_claims import names_of, resolve

FILES = sorted((ROOT / "notebooks").glob("*.ipynb"))


def cells(path):
    return json.loads(path.read_text())["cells"]


def sources(path, kind):
    return ["".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == kind]


def test_there_are_two():
    assert [path.stem for path in FILES] == ["apply_a_micromotion", "make_your_own"]


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_they_hold_no_outputs(path):
    for cell in cells(path):
        assert cell["metadata"] == {}
        assert cell["cell_type"] == "markdown" or (cell["outputs"], cell["execution_count"]) == (
            [], None,
        )  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_the_first_cell_installs_what_is_missing(path):
    first, *others = sources(path, "code")
    assert 'find_spec("mm_jax") is None' in first and "%pip install" in first
    setup = (ROOT / "setup.cfg").read_text()
    assert "\nname = mm-jax\n" in setup and '"mm-jax[cuda12]"' in first and "\ncuda12 =\n" in setup
    for code in others:
        ast.parse(code)
        for name in names_of(code):
            # Where notebooks run there is IPython; here there need not be.
            if not name.startswith("IPython."):
                resolve(name)


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_the_page_holds_every_cell(path, tmp_path):
    page = notebooks.pages(tmp_path)[f"notebooks/{path.stem}.md"]
    at = 0
    for cell in cells(path):
        at = page.index("".join(cell["source"]), at) + 1
    assert f"({path.name})" in page and "`make notebooks`" in page
    assert notebooks.files(tmp_path)[f"notebooks/{path.name}"] == path.read_bytes()


def test_outputs_of_a_run_are_shown(tmp_path):
    path = FILES[0]
    content = json.loads(path.read_text())
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    picture = {"output_type": "display_data", "data": {
        "text/plain": ["<Image>"], "image/png": base64.b64encode(b"pixels").decode() + "\n",
    }}  # fmt: skip
    code[1]["outputs"] = [{"output_type": "stream", "name": "stderr", "text": ["50 %"]}]
    code[2]["outputs"] = [
        {"output_type": "stream", "name": "stdout", "text": ["one\n", "two\n"]}, picture, picture,
    ]  # fmt: skip
    (tmp_path / path.name).write_text(json.dumps(content))
    page = notebooks.pages(tmp_path)[f"notebooks/{path.stem}.md"]
    assert (
        "```text\none\ntwo\n```" in page and "50 %" not in page and "`make notebooks`" not in page
    )
    drawn = {n: d for n, d in notebooks.files(tmp_path).items() if n.endswith(".png")}
    assert list(drawn.values()) == [b"pixels"] * 2
    for name in drawn:
        assert f"]({name.removeprefix('notebooks/')})" in page
    # Outputs of other cells are not those of this notebook.
    code[3]["source"] = ["pass"]
    (tmp_path / path.name).write_text(json.dumps(content))
    page = notebooks.pages(tmp_path)[f"notebooks/{path.stem}.md"]
    assert "```text" not in page and "`make notebooks`" in page
