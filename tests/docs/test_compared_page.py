"""The page of the comparison is what its script makes of the stored figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from docs import compared
from mm_jax.errors import DataError


def _numbers() -> dict[str, Any]:
    def own(value: float) -> dict[str, Any]:
        bounds = [value, value / 2, 2 * value]
        shape = dict.fromkeys(
            ("spearman", "right_way", "linearity", "step_variation", "identity_kept", "reached"),
            0.5,
        )
        return {"leakage": bounds, "largest": bounds, "saturation": None, **shape}

    def method(title: str, sees: str, value: float) -> dict[str, Any]:
        bounds = [value, value / 2, 2 * value]
        mean = {"leakage": bounds, "largest": bounds}
        return {"title": title, "sees": sees, "motions": {"smile": own(value)}, "mean": mean}

    return {
        "generator": "toy", "judge": "toy-judge", "unseen": 4, "calibrated_on": 2, "few": 2,
        "repetitions": 2, "strengths": [0, 1], "motions": {"smile": {}}, "reference": "sefa",
        "methods": {
            "sefa": method("SeFa", "oracle", 0.14),
            "clip_means": method("means of CLIP's extremes", "CLIP", 0.035),
        },
        "differences": {"sefa": {"clip_means": [-0.105, -0.12, -0.09]}},
        "claims": {},
    }  # fmt: skip


def test_tables_hold_the_figures_in_per_cent() -> None:
    text = compared.block(_numbers())
    assert "| SeFa | nothing; factors choose | 14.0 [7.0, 28.0] | 14.0 [7.0, 28.0]" in text
    assert "3.5 [1.8, 7.0] | -10.5 [-12.0, -9.0] |" in text
    assert "4 unseen faces of toy, read by toy-judge" in text


def test_the_script_replaces_what_is_between_the_marks(
    tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    page, figures = tmp_path / "compared.md", tmp_path / "compared.json"
    page.write_text(f"# A\n\n{compared.BEGIN}\nold\n{compared.END}\n\n## B\n")
    readme = tmp_path / "README.md"
    readme.write_text(f"# mm\n\n{compared.BEGIN}\n{compared.END}\n")
    monkeypatch.setattr(compared, "README", readme)
    monkeypatch.setattr(compared, "PAGE", page)
    monkeypatch.setattr(compared, "FIGURES", figures)
    source = tmp_path / "run.json"
    source.write_text(json.dumps(_numbers()))
    for _ in range(2):  # the second time changes nothing
        assert compared.main(["compared", str(source)]) == 0
        wanted = f"{compared.BEGIN}\n\n{compared.block(_numbers())}\n\n{compared.END}"
        assert page.read_text() == f"# A\n\n{wanted}\n\n## B\n"
    assert json.loads(figures.read_text()) == _numbers()
    assert "| SeFa | nothing; factors choose | 14.0 % | 14.0 % |" in readme.read_text()
    assert "CLIP's extremes" not in readme.read_text()  # README has few
    source.write_text("{}")
    assert compared.main(["compared", str(source)]) == 1
    assert "is not a comparison" in capsys.readouterr().err
    assert compared.main(["compared"]) == 2
    with pytest.raises(DataError, match="must hold"):
        compared.renewed("no marks", "text")


def test_the_page_is_made_of_the_stored_figures() -> None:
    page = compared.PAGE.read_text(encoding="utf-8")
    assert compared.renewed(page, "") != page
    if compared.FIGURES.exists():
        numbers = json.loads(compared.FIGURES.read_text())
        assert compared.renewed(page, compared.block(numbers)) == page
        readme = compared.README.read_text(encoding="utf-8")
        assert compared.renewed(readme, compared.summary(numbers)) == readme
    else:
        between = page.split(compared.BEGIN)[1].split(compared.END)[0]
        assert "not here yet" in between and "|" not in between
