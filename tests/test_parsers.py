"""Flag parsers: values by example, round trips by property, one-line errors for the rest."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_jax import parsers as ft
from mm_jax.errors import UsageError


@pytest.mark.parametrize(
    ("text", "want"),
    [("0", (0,)), ("0-3,12", (0, 1, 2, 3, 12)), (" 4 - 5 , 1 ", (4, 5, 1)), ("7-7", (7,))],
)
def test_seeds(text, want):
    assert ft.parse_seeds(text) == want


@given(st.lists(st.integers(0, ft.MAX_SEED), min_size=1, max_size=20, unique=True))
def test_a_list_of_seeds_reads_back(seeds):
    assert ft.parse_seeds(",".join(map(str, seeds))) == tuple(seeds)


@given(st.integers(0, 1000), st.integers(0, 50))
def test_a_range_of_seeds_is_that_of_python(first, more):
    assert ft.parse_seeds(f"{first}-{first + more}") == tuple(range(first, first + more + 1))


@pytest.mark.parametrize(
    "text", ["", "x", "1,", "3-", "-3", "5-2", "1.5", "0-99999999999", "2,2", "0-5000000", "1--2"]
)
def test_bad_seeds(text):
    with pytest.raises(UsageError, match="--seeds") as error:
        ft.parse_seeds(text)
    assert "\n" not in str(error.value)


def test_layers():
    assert ft.parse_layers("0-3,7") == (0, 1, 2, 3, 7)
    assert ft.parse_layers("") is None
    assert ft.parse_layers("all") is None
    for bad in ("a-b", "64", "3-1", "1,1"):
        with pytest.raises(UsageError, match="--layers"):
            ft.parse_layers(bad)


def test_strengths():
    assert ft.parse_strengths("-1:1", frames=5) == (-1, -0.5, 0, 0.5, 1)
    assert ft.parse_strengths("1:-1", frames=3) == (1, 0, -1)
    assert ft.parse_strengths("-1,0,2.5", frames=60) == (-1, 0, 2.5)
    assert ft.parse_strengths("2", frames=60) == (2,)


@given(
    st.floats(-1e6, 1e6, allow_nan=False), st.floats(-1e6, 1e6, allow_nan=False), st.integers(2, 90)
)
def test_a_range_of_strengths_has_its_ends_and_even_steps(low, high, frames):
    values = ft.parse_strengths(f"{low!r}:{high!r}", frames=frames)
    assert len(values) == frames
    assert values[0] == low
    assert values[-1] == high
    step = (high - low) / (frames - 1)
    for a, b in itertools.pairwise(values):
        assert math.isclose(b - a, step, rel_tol=1e-6, abs_tol=1e-6)


@pytest.mark.parametrize("text", ["", "a", "1:b", "0:1:2", "nan", "inf,1", "1,,2", "-inf:1"])
def test_bad_strengths(text):
    with pytest.raises(UsageError, match="--strength"):
        ft.parse_strengths(text, frames=3)


@pytest.mark.parametrize("frames", [-1, 0, 1, 10**9])
def test_a_range_of_strengths_needs_frames(frames):
    with pytest.raises(UsageError, match="--frames"):
        ft.parse_strengths("0:1", frames=frames)


def test_degrees():
    assert ft.parse_degrees("no, 50%,100%") == ("no", "50%", "100%")
    for bad in ("", "no", "no,,100%"):
        with pytest.raises(UsageError, match="--degrees"):
            ft.parse_degrees(bad)


def test_grid():
    assert ft.parse_grid("4x2", count=100) == (4, 2)
    for count in range(1, 65):
        columns, rows = ft.parse_grid("", count=count)
        assert columns * rows >= count > columns * (rows - 1)
    assert ft.parse_grid("", count=1000) == (8, 8)
    for bad in ("4", "0x2", "axb", "4x-1", "4x2x1"):
        with pytest.raises(UsageError, match="--grid"):
            ft.parse_grid(bad, count=1)
