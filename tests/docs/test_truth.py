"""Tables of what is measured against known factors: from runs' JSON into their pages."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from docs import truth

ONE = {"spearman": 0.9994, "right_way": 1.0, "leakage_mean": 0.0512, "leakage_max": 0.3, "n": 64}
ROW = "0.999, 0.051, 0.30"
OF_VIDEO = {
    "conditions": {
        "rpca": {**ONE, "dropped": [{"frame": 3}, {"frame": 9}], "frames": 25},
        "svd": {**ONE, "dropped": [], "frames": 25},
    },
    "cosine_text_video": 0.5,
    "spoiled": [3, 5],
}
FILES = {
    "truth.json": ({"smile": ONE, "head_turn": ONE}, ["| smile | 0.999 | 1.000 | 0.051 | 0.300 |",
                   "| head_turn (from a video) | 0.999"]),
    "video.json": ({"head_turn": OF_VIDEO}, ["| condition | head turn |", f"| svd | {ROW} |",
                   "prompts* | 0.500 |", "dropped* | 1 of 2 |"]),
    "domain.json": ({"truths": {"as faces": {"aging": ONE, "smile": ONE}}},
                    ["|  | ageing | smile |", f"| as faces | {ROW} | {ROW} |"]),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_table_goes_between_the_marks_of_its_page(name, tmp_path, monkeypatch, capsys):
    values, lines = FILES[name]
    page = truth.PAGES[name]
    text = page.file.read_text()
    assert all(text.count(mark) == 1 for mark in page.marks)
    monkeypatch.setitem(truth.PAGES, name, page._replace(file=tmp_path / "page.md"))
    begin, end = page.marks
    (tmp_path / "page.md").write_text(f"Before.\n\n{begin}\n\nold\n\n{end}\n\nAfter.\n")
    (tmp_path / name).write_text(json.dumps(values))
    if page.image:
        assert truth.main(["truth", str(tmp_path / name)]) == 1
        assert page.image in capsys.readouterr().err
        assert "old" in (tmp_path / "page.md").read_text()
        Image.new("RGB", (32, 16), "red").save(tmp_path / page.image)
    assert truth.main(["truth", str(tmp_path / name)]) == 0
    made = list(tmp_path.glob("*.webp"))
    assert [file.name for file in made] == [f"{page.name}.webp"] * bool(page.image)
    for file in made:
        with Image.open(file) as image:
            assert image.size == (32, 16)
    new = (tmp_path / "page.md").read_text()
    assert new.startswith("Before.") and new.endswith("After.\n") and "old" not in new
    assert all(line in new for line in lines), new
    # What is not such a file is refused, and the page stays.
    (tmp_path / name).write_text('{"smile": 1}')
    assert truth.main(["truth", str(tmp_path / name)]) == 1
    assert "is not a" in capsys.readouterr().err and (tmp_path / "page.md").read_text() == new


def test_other_files_have_no_page(capsys):
    assert truth.main(["truth"]) == 2 and truth.main(["truth", "runs/other.json"]) == 2
    assert "usage" in capsys.readouterr().err
