"""What files and folders are called where they are not what was asked for."""

import io as streams
import json
import pickle

import numpy as np
import pytest
from PIL import Image

from mm_jax import io
from mm_jax.artifacts import load_latents, load_subspace
from mm_jax.errors import DataError
from mm_jax.kinds import described, wrong_kind
from mm_jax.media import read_image
from mm_jax.zoo import load_generator


def image(form):
    buffer = streams.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, form)
    return buffer.getvalue()


FILES = {
    "a.png": (lambda: image("PNG"), "a PNG image"),
    "a.jpg": (lambda: image("JPEG"), "a JPEG image"),
    "a.webp": (lambda: image("WEBP"), "a WebP image"),
    "a.gif": (lambda: image("GIF"), "a GIF image"),
    "a.mp4": (lambda: b"\0\0\0\x20ftypisom" + bytes(20), "a video (MP4 or MOV)"),
    "a.heic": (lambda: b"\0\0\0\x20ftypheic" + bytes(20), "a HEIC image"),
    "a.pkl": (lambda: pickle.dumps({}, protocol=4), "a pickle"),
    "a.html": (lambda: b"<!DOCTYPE html><p>404", "a web page"),
    "a.txt": (lambda: b"hello\n", "text"),
    "a.bin": (lambda: b"\0\x01\x02\x03" * 90, ""),
    "empty": (lambda: b"", "an empty file"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_are_told_by_their_bytes(tmp_path, name):
    made, what = FILES[name]
    path = tmp_path / "misleading.npz"
    path.write_bytes(made())
    assert described(path).startswith(what) and bool(described(path)) == bool(what)
    if what:
        with pytest.raises(DataError, match=r"misleading.npz is .*, not a subspace"):
            load_subspace(path)


def test_our_own_files_and_folders(tmp_path):
    io.save_npz(tmp_path / "latents.npz", ws=np.zeros((1, 2, 3)))
    with pytest.raises(DataError, match=r"latents\.npz is latents, not a subspace"):
        load_subspace(tmp_path / "latents.npz")
    (tmp_path / "subspace.npz").write_bytes(b"x")
    with pytest.raises(DataError, match=r"is a folder, not a subspace: give .*subspace.npz"):
        load_subspace(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"command": "mm_extract"}))
    with pytest.raises(
        DataError, match="the folder of a run of mm_extract, not the folder of a gen"
    ):
        load_generator(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"format_version": 1, "kind": "encoder"}))
    assert described(tmp_path) == "the folder of an encoder"
    assert wrong_kind(tmp_path, "the folder of an encoder") is None


def test_what_another_project_wrote_is_converted_first(tmp_path):
    path = tmp_path / "net.pkl"
    path.write_bytes(pickle.dumps({}, protocol=4))
    for load in (load_generator, load_latents):
        with pytest.raises(DataError, match=r"a pickle, not .*mm_convert --source=.*net\.pkl"):
            load(path)


def test_a_video_is_no_image(tmp_path):
    path = tmp_path / "me.jpg"
    path.write_bytes(b"\0\0\0\x20ftypisom" + bytes(100))
    with pytest.raises(DataError, match=r"a video .*, not an image: videos are for --video"):
        read_image(path)
