"""What the docs say about the code: names, files, messages, layouts, public API."""

from __future__ import annotations

import ast
import functools
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mm_jax
from docs import pages
from mm_jax.options import flag_specs
from tests.docs.markdown import ROOT, files, pieces, python_blocks
from weights_convert.detect import REFUSED
from weights_convert.options import LAYOUTS

PACKAGES = ("mm_jax", "weights_convert", "bin", "benchmarks")


def resolve(name: str) -> Any:
    """What a dotted name stands for."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        return functools.reduce(getattr, parts[count:], found)
    raise ModuleNotFoundError(name)


def test_dotted_names_exist():
    pattern = re.compile(r"(mm_jax|weights_convert)(\.\w+)+(\(\))?")
    found = [piece for piece in pieces() if piece.kind == "span" and pattern.fullmatch(piece.text)]
    assert len(found) > 40
    for piece in found:
        if not piece.text.endswith((".py", ".npz")):
            try:
                resolve(piece.text.removesuffix("()"))
            except (AttributeError, ModuleNotFoundError) as error:
                raise AssertionError(f"{piece}: {error}") from error


def test_files_of_the_repository_exist():
    pattern = re.compile(rf"(docs|tests|cluster|constraints|{'|'.join(PACKAGES)})/[\w./-]+")
    found = [piece for piece in pieces() if piece.kind == "span" and pattern.fullmatch(piece.text)]
    assert len(found) > 20
    for piece in found:
        if "NAME" not in piece.text:
            assert (ROOT / piece.text).exists(), piece


def test_links_to_files_exist():
    generated = set(pages.generated())
    for file in files():
        for target in re.findall(r"\]\(([^)#\s]+)", file.read_text()):
            if not re.match(r"[a-z]+:", target):
                known = target in generated or (file.parent / target).exists()
                assert known, f"{file.name}: {target}"


def names_of(block: str) -> Iterator[str]:
    """Names that a block of Python takes from mm_jax."""
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "mm_jax":
                yield f"mm_jax.{node.attr}"
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_python_parses_and_names_what_there_is():
    blocks = [piece for piece in pieces() if piece.kind == "python"]
    assert len(blocks) > 8
    for piece in blocks:
        for name in names_of(piece.text):
            try:
                resolve(name)
            except (AttributeError, ModuleNotFoundError) as error:
                raise AssertionError(f"{piece}: {error}") from error


# Messages.


def texts() -> set[str]:
    """All strings of the code, with … for what is put into them."""
    found: set[str] = set()
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = (p.value if isinstance(p, ast.Constant) else "…" for p in node.values)
                    found.add("".join(map(str, parts)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.add(node.value)
    return found


@functools.cache
def words_of(text: str) -> tuple[str, int]:
    """A message without what stands before and behind its words, and how many letters it has."""
    text = text.strip(" .:…")
    return text, len(re.sub(r"[\W_]", "", text))


def covers(shown: str, text: str) -> bool:
    """Whether a message of the docs is one of the code, in which … stands for anything."""
    # Some messages are put together, so what stands before and behind the words is left aside.
    (shown, most), (text, letters) = words_of(shown), words_of(text)
    if not 0.6 * most <= letters <= most:
        return False
    pattern = ".*".join(map(re.escape, text.split("…")))
    return re.fullmatch(pattern, shown) is not None


def test_messages_of_the_troubleshooting_page_are_those_of_the_code():
    page = (ROOT / "docs/troubleshooting.md").read_text()
    shown = re.findall(r"^### `(.*)`$", page, re.MULTILINE)
    # Of absl, whose text we pass on.
    shown.remove("Unknown command line flag '…'")
    known = texts()
    assert len(shown) > 30
    for message in shown:
        assert any(covers(message, text) for text in known), message
    assert not any(covers("… holds a run of …, which is odd", text) for text in known)


# Pages.


def test_every_layout_and_every_refusal_is_on_the_decision_page():
    page = " ".join((ROOT / "docs/which-file.md").read_text().split())
    rows = re.findall(r"\| `(\w+)` \| `mm_convert", page)
    assert set(rows) == set(LAYOUTS)
    plain = page.replace("`", "")
    assert [s.what for s in REFUSED if s.what not in plain] == []


def test_every_public_name_has_a_docstring_and_a_page():
    assert set(pages.public_names()) == {n for n in mm_jax.__all__ if not n.startswith("_")}
    index = pages.api_index()
    for name in pages.public_names():
        assert f"`{name}`" in index


@pytest.mark.parametrize("name", ["load_generator", "MOTIONS", "Subspace", "lpips"])
def test_a_name_without_docstring_or_page_stops_the_build(name, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(pages, "docstring_of", lambda one: "" if one == name else "Some.")
        with pytest.raises(LookupError, match=f"no docstring: {name}"):
            pages.api_index()
    fewer = {k: (t, tuple(n for n in ns if n != name)) for k, (t, ns) in pages.API.items()}
    monkeypatch.setattr(pages, "API", fewer)
    with pytest.raises(LookupError, match=f"differ by {name}"):
        pages.api_index()


@pytest.mark.parametrize("name", pages.program_names())
def test_pages_of_programs_hold_every_flag_and_default(name):
    page = pages.program_page(name)
    for kind in pages.program(name).OPTIONS:
        for flag, _ in flag_specs(kind):
            assert page.count(f"`--{flag}`{{ #{flag} }}") == 1


def test_navigation_holds_every_page():
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    listed = re.findall(r"[\w/-]+\.md", nav)
    written = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert sorted(listed) == sorted({*written, *pages.generated()})


def test_included_pages_link_within_the_site():
    page = pages.included_page("benchmarks/README.md")
    assert "](photos.md)" in page
    assert "../docs" not in page


def test_performance_gathers_every_passage(monkeypatch):
    page = pages.performance_page()
    for heading, _, _ in pages.PERFORMANCE:
        assert f"## {heading}\n" in page or not heading
    assert len(re.findall(r"\n\| ?---", page)) >= 15
    assert re.search(r"images, 1024 px, batch 1 \| [\d.]+ \|", page)
    monkeypatch.setattr(pages, "PERFORMANCE", (("Speed", "docs/studio.md", "How quick"),))
    with pytest.raises(LookupError, match=r"docs/studio\.md has no line that begins"):
        pages.performance_page()


def test_readme_is_short():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) < 120
    assert any(line.startswith("    make test ") for line in lines)


def test_citation_has_the_version():
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {mm_jax.__version__}\n" in citation


def test_ten_lines_are_the_same_everywhere():
    first = {python_blocks(ROOT / name)[0].text for name in ("README.md", "docs/all-of-it.md")}
    assert len(first) == 1


def test_extras_that_the_docs_name_exist():
    setup = (ROOT / "setup.cfg").read_text()
    extras = setup.partition("[options.extras_require]")[2].partition("\n[")[0]
    known = set(re.findall(r"^([\w-]+) =$", extras, re.MULTILINE))
    for file in files():
        for named in re.findall(r"(?:-e '?\.|mm-jax)\[([\w,-]+)\]", file.read_text()):
            assert set(named.split(",")) <= known, file.name


def test_tools_agree_with_pre_commit():
    """Hooks run what `make lint` does, by the tools of the extra `dev`: one version of each."""
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert set(re.findall(r"repo: (\S+)", hooks)) == {"local"}
    recipe = (ROOT / "Makefile").read_text().partition("\nlint: ")[2].partition("\n\n")[0]
    ran = [tool(line) for line in re.findall(r"^\t\$\(BIN\)/(.*)", recipe, re.MULTILINE)]
    assert [tool(line) for line in re.findall(r"entry: \.venv/bin/(.*)", hooks)] == ran
    assert {"ruff format", "ruff check", "pyright", "shellcheck"} < set(ran)


def tool(command: str) -> str:
    """A command of lint without flags, files that are checked, and the interpreter's path."""
    return " ".join(word for word in command.split() if re.fullmatch(r"[a-z]+(/[a-z]+\.py)?", word))


def test_assets_of_the_site_are_local():
    config = (ROOT / "mkdocs.yml").read_text()
    for path in re.findall(r"- (assets/\S+)", config):
        assert Path(ROOT / "docs" / path).exists()
    assert "http" not in config
