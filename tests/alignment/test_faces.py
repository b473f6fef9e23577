"""Picture files to aligned faces: which face, what is said, what is refused."""

import json

import numpy as np
import pytest
from PIL import Image

from mm_jax import media
from mm_jax.alignment import Framing, crop_face, ffhq_quad
from mm_jax.alignment.faces import open_faces
from mm_jax.alignment.options import AlignOptions, parse_face
from mm_jax.errors import DataError, UsageError


@pytest.fixture
def group(goldens):
    """A picture with two faces, 0 the larger, and the file that knows their landmarks."""
    return goldens / "two_faces.png", str(goldens / "two_faces.json")


def points_of(group):
    with open(group[1]) as file:
        return json.load(file)["two_faces.png"]


def open_group(group, face="largest", **options):
    said = []
    settings = AlignOptions(landmarks=group[1], face=parse_face(face))
    faces = open_faces([group[0]], ["group"], settings, size=32, tell=said.append, **options)
    return faces, said


def test_the_largest_face_is_taken_and_all_are_listed(group):
    (face,), said = open_group(group)
    assert face.name == face.image_name == "group"
    assert said[0].count(" at ") == 2 and "2 faces: 0 at " in said[0]
    assert "Taken: 0, the largest (--face chooses: a number, or all)" in said[0]
    points = points_of(group)
    quad = ffhq_quad(np.array(points[0], np.float32))
    np.testing.assert_array_equal(face.quad, quad)
    np.testing.assert_array_equal(face.image, crop_face(face.whole_image(), quad, size=32))
    # A generator's framing is applied to the crop.
    (closer,), _ = open_group(group, framing=Framing(scale=0.5))
    np.testing.assert_allclose(closer.quad.mean(axis=0), quad.mean(axis=0), atol=1e-3)
    assert np.ptp(closer.quad[:, 0]) == pytest.approx(np.ptp(quad[:, 0]) / 2, rel=1e-5)


def test_other_faces(group):
    (face,), said = open_group(group, "1")
    assert "Taken: 1 (" in said[0] and face.name == "group"
    both, said = open_group(group, "all")
    assert [f.name for f in both] == ["group_face0", "group_face1"]
    assert {f.image_name for f in both} == {"group"}
    assert [f.name for f in open_group(group, "1,0")[0]] == ["group_face1", "group_face0"]
    with pytest.raises(UsageError, match=r"--face=2: .*two_faces\.png has faces 0 to 1"):
        open_group(group, "2")


def test_names_of_faces_are_distinct(group, tmp_path):
    other = tmp_path / "two_faces.png"
    media.save_png(other, media.read_image(group[0]))
    settings = AlignOptions(landmarks=group[1], face="all")
    names = ["group_face0", "group"]
    faces = open_faces([group[0], other], names, settings, size=8, tell=lambda text: None)
    assert len({face.name for face in faces}) == 4


def test_a_detector_finds_the_same(group):
    said = []
    (face,) = open_faces([group[0]], ["g"], AlignOptions(), size=32, tell=said.append)
    (known,), _ = open_group(group)
    side = np.ptp(known.quad[:, 0])
    np.testing.assert_allclose(face.quad, known.quad, atol=0.08 * side)
    assert "2 faces" in said[0]


def test_no_face_says_what_to_try(tmp_path):
    path = media.save_png(tmp_path / "sky.png", np.zeros((64, 64, 3), np.float32))
    with pytest.raises(
        DataError, match=r"sky\.png: no face found \(detector faces\).*--landmarks.*--aligned"
    ):
        open_faces([path], ["sky"], AlignOptions(), size=16)


def test_aligned_pictures_are_resized_only(tmp_path):
    square = np.random.default_rng(0).uniform(-1, 1, (48, 48, 3)).astype(np.float32)
    path = media.save_png(tmp_path / "a.png", square)
    (face,) = open_faces([path], ["a"], AlignOptions(aligned=True), size=24)
    want = media.read_image(path).reshape(24, 2, 24, 2, 3).mean(axis=(1, 3))
    assert np.corrcoef(face.image.ravel(), want.ravel())[0, 1] > 0.98
    assert face.quad[0].tolist() == [-0.5, -0.5] and face.quad[2].tolist() == [47.5, 47.5]
    wide = media.save_png(tmp_path / "b.png", square[:40])
    with pytest.raises(DataError, match="must be square, got 48 x 40 pixels"):
        open_faces([wide], ["b"], AlignOptions(aligned=True), size=24)


def test_a_turned_photograph_gives_the_same_crop(group, tmp_path):
    """A camera held sideways: the file is turned and EXIF says how; landmarks are upright ones."""
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = tmp_path / "two_faces.png"
    with Image.open(group[0]) as picture:
        picture.transpose(Image.Transpose.ROTATE_90).save(turned, exif=exif)
    settings = AlignOptions(landmarks=group[1])
    (face,) = open_faces([turned], ["g"], settings, size=32, tell=lambda text: None)
    np.testing.assert_array_equal(face.image, open_group(group)[0][0].image)


def test_landmarks_that_do_not_fit(group, tmp_path):
    points = points_of(group)[0]
    large = (10 * np.array(points)).tolist()
    for key, value, words in (
        ("two_faces.png", large, "outside of the image of 272 x 160"),
        ("two_faces.png", [[p[0], -p[1]] for p in points], "mouth above the eyes"),
        ("other.png", points, "has no landmarks of .*two_faces"),
    ):
        (tmp_path / "l.json").write_text(json.dumps({key: value}))
        with pytest.raises(DataError, match=words):
            open_group((group[0], str(tmp_path / "l.json")))


def test_remarks_on_small_and_leaning_faces(group, tmp_path):
    points = np.array(points_of(group)[0])
    upside_down = tmp_path / "u.png"
    media.save_png(upside_down, media.read_image(group[0])[::-1, ::-1])
    known = {"u.png": ([271, 159] - points).tolist()}
    (tmp_path / "l.json").write_text(json.dumps(known))
    said = []
    settings = AlignOptions(landmarks=str(tmp_path / "l.json"))
    open_faces([upside_down], ["u"], settings, size=1024, tell=said.append)
    assert any("leans by" in line for line in said) and any("it is soft" in line for line in said)


def test_remarks_on_profiles_and_faces_at_the_border(group, tmp_path):
    """68 landmarks on a grid; moved to the border, and with the nose moved aside."""
    points = np.stack(np.meshgrid(np.linspace(0, 40, 17), np.linspace(0, 60, 4)), -1).reshape(-1, 2)
    points[36:42], points[42:48], points[48], points[54] = (10, 10), (30, 10), (10, 45), (30, 45)
    points[0], points[16], points[30] = (0, 20), (40, 20), (20, 25)
    turned = points.copy()
    turned[30, 0] = 36

    def said_of(landmarks):
        (tmp_path / "l.json").write_text(json.dumps({"two_faces.png": landmarks.tolist()}))
        said = []
        settings = AlignOptions(landmarks=str(tmp_path / "l.json"))
        open_faces([group[0]], ["g"], settings, size=16, tell=said.append)
        return " ".join(said)

    assert "turned" not in said_of(points + 60) and "cut" not in said_of(points + 60)
    assert "turned far to the side" in said_of(turned + 60)
    assert "cut by the border" in said_of(points - np.array([8, -60]))


def test_settings():
    assert parse_face(" Largest ") == "largest" and parse_face("2, 0") == (2, 0)
    for text in ("", "biggest", "-1", "1,", "0,0", "1.5"):
        with pytest.raises(UsageError, match="--face"):
            parse_face(text)
    for bad in (
        {"aligned": True, "landmarks": "l.json"},
        {"aligned": True, "face": "all"},
        {"landmarks": "l.json", "detector_model": "m"},
    ):
        with pytest.raises(UsageError):
            AlignOptions(**bad)
