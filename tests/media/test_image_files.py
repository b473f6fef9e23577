"""Which files a flag names, and what their pictures are called."""

from pathlib import Path

import pytest

from mm_jax.errors import DataError, UsageError
from mm_jax.media.image_files import expand, names_of


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.png", "a.JPG", "notes.txt", "more/a.png", "odd[1].png", "empty/.keep"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def test_files_patterns_and_folders(folder):
    assert expand(["b.png", "a.JPG"]) == [Path("b.png"), Path("a.JPG")]
    assert expand(["*.png"]) == [Path("b.png"), Path("odd[1].png")]
    assert expand(["."]) == [Path("a.JPG"), Path("b.png"), Path("odd[1].png")]
    assert expand(["b.png, a.JPG", "*.txt,"]) == [Path("b.png"), Path("a.JPG"), Path("notes.txt")]
    # A file that is there is no pattern, and counts once.
    assert expand(["odd[1].png", "./odd[1].png", "*.png"]) == [Path("odd[1].png"), Path("b.png")]


@pytest.mark.parametrize(
    ("error", "words", "texts"),
    [
        (UsageError, "--image is missing", []),
        (DataError, "no file matches x/", ["x/*.png"]),
        (DataError, "empty holds no images", ["empty"]),
        (DataError, "cannot read c.png: no such file", ["b.png", "c.png"]),
        (DataError, "download it", ["b.png", "https://example.org/c.png"]),
    ],
)
def test_what_names_nothing(folder, error, words, texts):
    with pytest.raises(error, match=words):
        expand(texts)


def test_names_are_distinct_and_no_hidden_files():
    paths = [Path("x/a.png"), Path("y/a.jpg"), Path("a_2.png"), Path("..png")]
    names = names_of(paths)
    assert names[:2] == ["a", "a_2"]
    assert len(set(names)) == 4 and not any(name.startswith(".") for name in names)
