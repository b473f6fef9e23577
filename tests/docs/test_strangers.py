"""The table of what strangers see is put into its page, and nothing else of the page changes."""

from __future__ import annotations

import pytest

from docs import compared, strangers
from mm_jax.errors import DataError

FACES = (
    "**What strangers see**\n\n| motion | a |\n| --- | --- |\n| smile | 1.0 |\n\nRead by others.\n"
)


def test_the_page_holds_the_table(tmp_path, monkeypatch):
    page = tmp_path / "compared.md"
    text = compared.PAGE.read_text(encoding="utf-8")
    page.write_text(text, encoding="utf-8")
    monkeypatch.setattr(strangers, "PAGE", page)
    (tmp_path / "faces.md").write_text(FACES)
    assert strangers.main(["strangers", str(tmp_path / "faces.md")]) == 0
    begin, end = strangers.MARKS
    before, after = text.split(begin)[0], text.split(end)[1]
    table = "| motion | a |\n| --- | --- |\n| smile | 1.0 |"
    assert page.read_text(encoding="utf-8") == f"{before}{begin}\n\n{table}\n\n{end}{after}"


def test_another_file_is_refused(tmp_path, capsys):
    with pytest.raises(DataError, match="holds no table"):
        strangers.table_of("no table\n")
    assert strangers.main(["strangers"]) == 2
    assert strangers.main(["strangers", str(tmp_path / "none.md")]) == 1
    assert "none.md" in capsys.readouterr().err
