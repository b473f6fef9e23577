"""Parts of reports: settings, and what stages cost."""

import pytest

from mm_jax.report import parts


def test_settings_say_what_the_stages_cost(monkeypatch):
    """The longest by name in their order, the others together, and all of them together."""
    seconds = {f"stage {k}": float(k) for k in range(20)}
    monkeypatch.setattr(parts, "stages_so_far", lambda: seconds)
    *stages, others, together = parts.settings_section("mm_edit", {"rank": 1}).items[-1].rows
    assert [name for name, _ in stages] == [f"stage {k}" for k in range(8, 20)]
    assert others == ["others", "28.0"] and together == ["together", "190.0"]
    assert sum(float(took) for _, took in [*stages, others]) == pytest.approx(190)


def test_outside_a_program_no_stage_costs_anything():
    _, settings = parts.settings_section("mm_edit", {"rank": 1}).items
    assert settings.rows == [["rank", "1"]]


def test_settings_that_say_nothing_are_left_out():
    given = {"rank": 0, "video": "", "start": None, "layers": (), "image": [], "tune": False}
    _, settings = parts.settings_section("mm_edit", given).items[:2]
    assert settings.rows == [["rank", "0"], ["tune", "False"]]
