"""The tables of the inversion are put into their page, and nothing else of the page changes."""

from __future__ import annotations

import pytest

from docs import inversion
from mm_jax.errors import DataError

TABLES = "**Likeness**\n\n| a |\n| --- |\n| 1.0 |\n\n**Editability**\n\n| b |\n| --- |\n| 2.0 |\n"


def test_tables_go_between_the_marks(tmp_path, monkeypatch):
    page = tmp_path / "inversion.md"
    monkeypatch.setattr(inversion, "PAGE", page)
    begin, end = inversion.MARKS
    page.write_text(f"# Before\n\n{begin}\n\nold\n\n{end}\n\nAfter.\n")
    (tmp_path / "new.md").write_text(TABLES)
    assert inversion.main(["inversion", str(tmp_path / "new.md")]) == 0
    assert page.read_text() == f"# Before\n\n{begin}\n\n{TABLES.strip()}\n\n{end}\n\nAfter.\n"


def test_other_files_are_refused(tmp_path, monkeypatch, capsys):
    page = tmp_path / "inversion.md"
    monkeypatch.setattr(inversion, "PAGE", page)
    page.write_text("".join(inversion.MARKS))
    with pytest.raises(DataError, match=r"inversion\.md of mm_eval"):
        inversion.tables_of("**Likeness**")
    assert inversion.main(["inversion"]) == 2
    assert inversion.main(["inversion", str(tmp_path / "none.md")]) == 1
    assert page.read_text() == "".join(inversion.MARKS) and "none.md" in capsys.readouterr().err
