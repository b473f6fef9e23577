"""Landmarks from files: every format gives the same points, and each error says where it is."""

import json

import numpy as np
import pytest

from mm_jax.alignment import load_landmarks
from mm_jax.errors import DataError

FIVE = np.array([[40, 50], [60, 50], [50, 62], [43, 75], [57, 75]], float)
MANY = np.random.default_rng(0).uniform(0, 100, (68, 2))


@pytest.mark.parametrize("points", [FIVE, MANY])
def test_one_picture_in_every_format(tmp_path, points):
    np.save(tmp_path / "a.npy", points)
    np.savetxt(tmp_path / "a.txt", points)
    np.savetxt(tmp_path / "b.txt", points, delimiter=",")
    lines = "\n".join(f"{x!r} {y!r}" for x, y in (points + 1.0).tolist())
    head = f"version: 1\nn_points: {len(points)}\n"
    (tmp_path / "a.pts").write_text(f"{head}{{\n{lines}\n}}\n")
    (tmp_path / "a.json").write_text(json.dumps({"face.jpg": points.tolist()}))
    for name in ("a.npy", "a.txt", "b.txt", "a.pts", "a.json"):
        ((face,),) = load_landmarks(tmp_path / name, ["photos/face.jpg"])
        np.testing.assert_allclose(face.landmarks, points, atol=1e-4)


def test_many_pictures_and_many_faces(tmp_path):
    known = {"a.jpg": [FIVE.tolist(), MANY.tolist()], "b": FIVE.tolist(), "dir/c.png": [], "3": []}
    (tmp_path / "l.json").write_text(json.dumps(known))
    got = load_landmarks(tmp_path / "l.json", ["x/a.jpg", "b.png", "dir/c.png", "unknown.png"])
    assert [len(faces) for faces in got] == [2, 1, 0, 0]
    assert got[0][1].landmarks.shape == (68, 2)


def test_arrays_are_faces_or_frames(tmp_path):
    np.save(tmp_path / "a.npy", np.stack([FIVE, FIVE + 1]))
    assert [len(f) for f in load_landmarks(tmp_path / "a.npy", ["one.png"])] == [2]
    frames = load_landmarks(tmp_path / "a.npy", ["0", "1"])
    assert [len(f) for f in frames] == [1, 1]
    np.testing.assert_allclose(frames[1][0].landmarks, FIVE + 1)
    with pytest.raises(DataError, match="of 2 images, 3 are given"):
        load_landmarks(tmp_path / "a.npy", ["0", "1", "2"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", r"are read from \.json"),
        ("a.json", b"[]", "must hold an object"),
        ("a.json", b"{", r"a\.json"),
        ("a.json", b'{"p": 3}', r"a\.json, p: a face must be .*, got int"),
        ("a.json", b'{"p": [[1, 2], [3]]}', r"a\.json, p: landmarks"),
        ("a.json", b'{"p": [[[1, 2]]]}', r"a\.json, p: landmarks must be .*, got int64 \[1, 2\]"),
        ("a.json", b'{"p": [["a", "b"]]}', "must be numbers"),
        ("a.npy", b"nothing", "not a readable npy"),
        ("a.txt", b"1 2\n3\n", "two numbers"),
        ("a.txt", b"1 x\n", "two numbers"),
        ("a.txt", b"1 2\n", r"\[1, 2\]"),
        ("a.txt", b"", "must be numbers"),
        ("a.pts", b"1 2\n", "between braces"),
        ("a.txt", b"\xff\xfe\x00", "cannot read"),
    ],
)
def test_bad_files(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_landmarks(tmp_path / name, ["p"])


def test_files_that_do_not_fit(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        load_landmarks(tmp_path / "none.json", ["p"])
    np.savetxt(tmp_path / "a.txt", FIVE)
    with pytest.raises(DataError, match="one image, 2 are given"):
        load_landmarks(tmp_path / "a.txt", ["p", "q"])
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"must hold landmarks \[P, 2\]"):
        load_landmarks(tmp_path / "a.npy", ["p"])
