"""Pictures of every kind as they come from cameras, scanners and editors; and what is none."""

import io
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from mm_jax import media
from mm_jax.errors import DataError
from mm_jax.media import images


def ramp(height=6, width=9, channels=3):
    values = np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)
    return values


def chunk(kind, data):
    checked = kind + data
    return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))


def png(values, colour_type, depth=16):
    """A PNG by hand: Pillow writes no 16-bit colour."""
    height, width = values.shape[:2]
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    head = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(("channels", "colour_type"), [(1, 0), (2, 4), (3, 2), (4, 6)])
def test_sixteen_bits(tmp_path, channels, colour_type):
    values = np.random.default_rng(1).integers(0, 65536, (5, 7, channels))
    if channels in (2, 4):
        values[..., -1] = 65535
    (tmp_path / "a.png").write_bytes(png(values, colour_type))
    got = media.read_image(tmp_path / "a.png")
    colours = values[..., : 1 if channels < 3 else 3] / 32767.5 - 1
    step = 1e-6 if channels == 1 else 1.01 / 127.5
    np.testing.assert_allclose(got, np.broadcast_to(colours, (5, 7, 3)), atol=step)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_every_mode_of_a_grey_picture(tmp_path, mode):
    """One grey value, or white for bits, in any mode that a file can have."""
    value = 255 if mode == "1" else 102
    picture = Image.new("RGB", (4, 3), (value,) * 3).convert("L" if mode == "LA" else "RGB")
    picture.convert(mode).save(tmp_path / "a.tif")
    got = media.read_image(tmp_path / "a.tif")
    assert got.shape == (3, 4, 3) and got.dtype == np.float32
    np.testing.assert_allclose(got, value / 127.5 - 1, atol=2 / 127.5)


def test_cmyk_without_a_profile(tmp_path):
    ink = np.zeros((8, 8, 4), np.uint8)
    ink[:, 4:, 0] = 255  # cyan
    Image.fromarray(ink, "CMYK").save(tmp_path / "a.jpg", quality=95)
    got = media.read_image(tmp_path / "a.jpg")
    np.testing.assert_allclose(got[4, 1], [1, 1, 1], atol=0.05)
    np.testing.assert_allclose(got[4, 6], [-1, 1, 1], atol=0.05)


def swapped_profile():
    """sRGB with red and blue exchanged: a profile that cannot be ignored unnoticed."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack(">I", data[128:132])[0]
    places = {}
    for i in range(count):
        at = 132 + 12 * i
        places[bytes(data[at : at + 4])] = at + 4
    red, blue = places[b"rXYZ"], places[b"bXYZ"]
    data[red : red + 8], data[blue : blue + 8] = data[blue : blue + 8], data[red : red + 8]
    at, size = struct.unpack(">II", data[places[b"desc"] : places[b"desc"] + 8])
    data[at : at + size] = bytes(data[at : at + size]).replace(b"s\0R\0G\0B", b"o\0t\0h\0e")
    return bytes(data)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colour_profiles_are_converted(tmp_path, mode):
    picture = Image.new("RGB", (3, 3), (250, 100, 20)).convert(mode)
    picture.save(tmp_path / "plain.png")
    picture.save(tmp_path / "srgb.png", icc_profile=ImageCms.ImageCmsProfile(
        ImageCms.createProfile("sRGB")).tobytes())  # fmt: skip
    picture.save(tmp_path / "swapped.png", icc_profile=swapped_profile())
    picture.save(tmp_path / "broken.png", icc_profile=b"no profile")
    plain = media.read_image(tmp_path / "plain.png")
    np.testing.assert_array_equal(media.read_image(tmp_path / "srgb.png"), plain)
    np.testing.assert_array_equal(media.read_image(tmp_path / "broken.png"), plain)
    np.testing.assert_allclose(
        media.read_image(tmp_path / "swapped.png"), plain[..., ::-1], atol=2 / 127.5
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation(tmp_path, orientation):
    """A picture stored in any orientation of EXIF reads back as the upright one."""
    upright = Image.fromarray(ramp())
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(
        media.to_uint8(media.read_image(tmp_path / "a.png")), np.asarray(upright)
    )


def test_animations_and_pages(tmp_path):
    frames = [Image.fromarray(ramp() // n) for n in (1, 2, 3)]
    for name in ("a.gif", "a.png", "a.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        with pytest.raises(DataError, match=r"one image, got 3 frames of an anim.*save one"):
            media.read_image(tmp_path / name)
    frames[0].save(tmp_path / "still.gif")
    assert media.read_image(tmp_path / "still.gif").shape == (6, 9, 3)
    frames[0].save(tmp_path / "pages.tif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(
        media.to_uint8(media.read_image(tmp_path / "pages.tif")), np.asarray(frames[0])
    )


def test_files_cut_short_and_empty(tmp_path):
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(
        stream, "JPEG"
    )
    for share in (0.02, 0.3, 0.8):
        (tmp_path / "a.jpg").write_bytes(stream.getvalue()[: int(share * len(stream.getvalue()))])
        with pytest.raises(DataError, match=r"a\.jpg"):
            media.read_image(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").touch()
    with pytest.raises(DataError, match=r"b\.jpg is empty"):
        media.read_image(tmp_path / "b.jpg")


def test_heic_by_an_extra_or_a_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # importing it fails
    (tmp_path / "c.jpg").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    with pytest.raises(
        DataError, match=r"HEIC.*pip install pillow-heif.*sips .*heif-convert c\.jpg"
    ):
        media.read_image(tmp_path / "c.jpg")


def test_heic_is_read(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    picture = Image.fromarray(np.full((32, 48, 3), 90, np.uint8))
    picture.paste((200, 30, 30), (0, 0, 24, 16))
    pillow_heif.register_heif_opener()
    picture.save(tmp_path / "a.heic", quality=95)
    got = media.to_uint8(media.read_image(tmp_path / "a.heic")).astype(int)
    np.testing.assert_allclose(got, np.asarray(picture), atol=60)
    assert np.abs(got[8, 12] - [200, 30, 30]).max() < 12


def test_sizes_out_of_range(tmp_path, monkeypatch):
    (tmp_path / "none.png").write_bytes(png(np.zeros((0, 4, 3)), 2))
    with pytest.raises(DataError, match=r"none\.png"):
        media.read_image(tmp_path / "none.png")
    Image.fromarray(ramp(20, 20)).save(tmp_path / "a.png")
    monkeypatch.setattr(images, "_LARGEST", 300)
    with pytest.raises(DataError, match="too large"):
        media.read_image(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # of others, and not ours to change
    monkeypatch.setattr(images, "_LARGEST", 500)
    assert media.read_image(tmp_path / "a.png").shape == (20, 20, 3)
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize(
    ("name", "mode"),
    [("a.jpg", "RGB"), ("a.jpg", "CMYK"), ("a.png", "RGB"), ("a.png", "P"), ("a.png", "I;16"),
     ("a.png", "RGBA"), ("a.tif", "1"), ("a.tif", "LA")],
)  # fmt: skip
@pytest.mark.parametrize("most", [600, 250, 60])
def test_very_large_images_are_read_reduced(tmp_path, monkeypatch, name, mode, most):
    """A half white, a half dark image comes back as one of any size, on its side as EXIF says."""
    picture = Image.new("L", (40, 24), 255)
    picture.paste(0, (0, 0, 40, 12))
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = 3
    convert = picture.mode if mode == "I;16" else mode
    picture.convert(convert).save(tmp_path / name, exif=exif)
    whole = media.read_image(tmp_path / name)
    assert images.reduced_note(tmp_path / name) is None
    monkeypatch.setattr(images, "MAX_PIXELS", most)
    got = media.read_image(tmp_path / name)
    factor = {600: 2, 250: 2, 60: 4}[most]
    assert got.shape == (24 // factor, 40 // factor, 3) and got[0, 0, 0] > 0.9
    np.testing.assert_allclose(got, whole[::factor, ::factor], atol=0.1)
    note = images.reduced_note(tmp_path / name) or ""
    assert f"{40 // factor} x {24 // factor}" in note and ("half" in note or "quarter" in note)


def test_samples_of_unknown_range(tmp_path):
    Image.fromarray(np.array([[0.0, 3.5]], np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match="floating-point"):
        media.read_image(tmp_path / "a.tif")
    Image.fromarray(np.array([[0, 10**8]], np.int32)).save(tmp_path / "b.tif")
    with pytest.raises(DataError, match="more than 16 bits"):
        media.read_image(tmp_path / "b.tif")
    Image.fromarray(np.array([[0, 65535]], np.int32)).save(tmp_path / "c.tif")
    np.testing.assert_array_equal(media.read_image(tmp_path / "c.tif")[0, :, 0], [-1, 1])


def test_floats_and_bytes():
    array = ramp()
    np.testing.assert_array_equal(media.to_uint8(media.to_float(array)), array)
    half = array.astype(np.float16) / 300
    assert media.to_float(half).dtype == np.float32
    for bad, words in (
        (array.astype(int), "float or uint8"),
        (array[..., :2], "H, W, 3"),
        (np.full((1, 1, 3), np.nan), "NaN"),
    ):
        with pytest.raises(DataError, match=words):
            media.to_float(bad)
