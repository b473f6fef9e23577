"""The table of what is read back of prompts: measured by mm_extract, put into its page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from docs import prompts

READ = {"degree_read_back": 0.754, "spearman": 0.998, "from_strength": -1.0, "found": True}


@pytest.fixture
def page(tmp_path, monkeypatch):
    begin, end = prompts.MARKS
    assert all(prompts.PAGE.read_text(encoding="utf-8").count(mark) == 1 for mark in prompts.MARKS)
    file = tmp_path / "page.md"
    file.write_text(f"Before.\n\n{begin}\n\nold\n\n{end}\n\nAfter.\n")
    monkeypatch.setattr(prompts, "PAGE", file)
    return file


def test_every_prompt_is_a_run_and_a_row(page, tmp_path, monkeypatch):
    asked = []

    def extract(argv: list[str]) -> int:
        asked.append(argv[1:-1])
        folder = Path(argv[-1].removeprefix("--outdir="))
        folder.mkdir(parents=True)
        own = READ if len(asked) > 1 else {**READ, "from_strength": 0.0, "found": False}
        (folder / "readback.json").write_text(json.dumps(own))
        return 0

    monkeypatch.setattr(prompts.mm_extract, "main", extract)
    assert prompts.main(["", str(tmp_path / "runs")]) == 0
    assert asked == [list(flags) for _, flags in prompts.PROMPTS.values()]
    text = page.read_text()
    assert "| `--motion=smile`, from strength 0 | 0.75 | 1.00 | no |" in text
    assert "| eine Person mit {degree} Lächeln | 0.75 | 1.00 | yes |" in text
    assert "old" not in text and text.startswith("Before.") and text.endswith("After.\n")
    # What a folder has is not measured again.
    assert prompts.main(["", str(tmp_path / "runs")]) == 0
    assert len(asked) == len(prompts.PROMPTS) and page.read_text() == text


def test_a_run_that_came_to_nothing_is_named(page, tmp_path, monkeypatch, capsys):
    before = page.read_text()
    monkeypatch.setattr(prompts.mm_extract, "main", lambda argv: 1)
    assert prompts.main(["", str(tmp_path / "runs")]) == 1
    assert "mm_extract --motion=smile" in capsys.readouterr().err and page.read_text() == before
    assert prompts.main([""]) == 2
