"""CLIP in OpenAI's layout: a TorchScript archive that torch wrote, and what torch makes of it."""

from __future__ import annotations

import dataclasses
import gzip

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mm_jax import io
from mm_jax.errors import DataError
from mm_jax.perceptual.clip import encode_pixels, encode_token_ids
from mm_jax.perceptual.clip_files import load_clip
from weights_convert import openai_clip
from weights_convert.detect import detect
from weights_convert.job import convert
from weights_convert.options import ConvertOptions
from weights_convert.plan import Request
from weights_convert.readers import read_file, write_torch_zip
from weights_convert.structure import module_state


@pytest.fixture(scope="module")
def folder(goldens):
    return goldens / "openai_clip"


@pytest.fixture(scope="module")
def content(folder):
    return read_file(folder / "scripted.pt").content


@pytest.fixture(scope="module")
def converted(folder, tmp_path_factory):
    """The written folder, and the report."""
    lines = []
    paths = convert(
        ConvertOptions(
            source=str(folder / "scripted.pt"),
            vocabulary=str(folder / "merges.txt.gz"),
            outdir=str(tmp_path_factory.mktemp("models") / "clip"),
        ),
        say=lines.append,
    )
    return paths[0], "\n".join(lines)


def test_computes_what_torch_does(converted, folder):
    path, report = converted
    assert "OpenAI's CLIP, torchscript" in report and "picture: 12" in report
    clip = load_clip(path)
    with np.load(folder / "expected.npz") as expected:
        ids, pixels = expected["in_ids"], np.moveaxis(expected["in_pixels"], 1, -1)
        images = encode_pixels(clip, jnp.asarray(pixels))
        texts = encode_token_ids(clip, jnp.asarray(ids))
        np.testing.assert_allclose(images, expected["image"], atol=1e-6)
        np.testing.assert_allclose(texts, expected["text"], atol=1e-6)


def test_words_have_their_numbers(converted):
    """256 bytes, 256 at a word's end, merges in their order, start and end."""
    tokenizer = load_clip(converted[0]).spec.tokenizer
    the, smile, an = 512 + 1, 512 + 6, 512 + 2
    assert tokenizer(["The smile"])[0, :4].tolist() == [524, the, smile, 525]
    assert tokenizer(["an !"])[0, :4].tolist() == [524, 64, 256 + 77, 256]
    assert tokenizer(["anx"])[0, 1] == an


def test_told_by_its_keys(content, folder):
    state = module_state(content)
    request = Request(vocabulary=str(folder / "merges.txt.gz"))
    for held in (content, state):
        name, layout, _ = detect(held)
        assert name == "openai_clip"
        assert layout.plan(held, request).parts[0].metadata["projection"] == 12
    with pytest.raises(DataError, match="--vocabulary"):
        detect(state)[1].plan(state, Request())


def test_every_key_is_accounted_for(content):
    state = module_state(content)
    with pytest.raises(DataError, match="not in its table: odd"):
        openai_clip.params_from_openai({**state, "odd": np.ones(1)})
    for key, words in (
        ("visual.ln_pre.bias", r"lacks visual\.ln_pre\.bias"),
        ("transformer.resblocks.0.attn.in_proj_bias", r"lacks .*attn\.k_proj\.bias"),
        ("visual.conv1.weight", "not the state dict of a CLIP"),
    ):
        with pytest.raises(DataError, match=words):
            openai_clip.params_from_openai({k: v for k, v in state.items() if k != key})
    with pytest.raises(DataError, match="three equal parts"):
        openai_clip.split_attention({"a.attn.in_proj_bias": np.ones(4)})
    with pytest.raises(DataError, match="shape that is not supported"):
        places = state["visual.positional_embedding"][:-1]
        openai_clip.params_from_openai({**state, "visual.positional_embedding": places})


def test_folders_of_openclip(content, folder, converted, tmp_path):
    """The same names; activation, heads and colours are those of its configuration."""
    state = {f"module.{key}": np.asarray(value) for key, value in module_state(content).items()}
    source = tmp_path / "open"
    source.mkdir()
    with open(source / "open_clip_pytorch_model.bin", "wb") as file:
        write_torch_zip(file, {"epoch": 3, "state_dict": state})
    config = {"model_cfg": {"embed_dim": 12, "vision_cfg": {}, "text_cfg": {}}}
    for quick, activation in ((True, "quick_gelu"), (False, "gelu")):
        config["model_cfg"]["quick_gelu"] = quick
        config["preprocess_cfg"] = {"mean": [0.5] * 3, "std": [0.25] * 3}
        io.write_json(source / "open_clip_config.json", config)
        options = ConvertOptions(
            source=str(source),
            vocabulary=str(folder / "merges.txt.gz"),
            outdir=str(tmp_path / activation),
        )
        lines = []
        clip = load_clip(convert(options, say=lines.append)[0])
        assert f"  activation: {activation}" in lines
        assert clip.spec.config["vision_config"]["hidden_act"] == activation
        assert tuple(clip.spec.mean) == (0.5,) * 3
        jax.tree.map(np.testing.assert_array_equal, clip.params, load_clip(converted[0]).params)


def test_a_bare_state_is_asked_for_its_activation(content, folder):
    metadata = ("input_resolution", "context_length", "vocab_size")
    bare = {key: v for key, v in module_state(content).items() if key not in metadata}
    request = Request(vocabulary=str(folder / "merges.txt.gz"))
    layout = detect(bare)[1]
    with pytest.raises(DataError, match="add --activation=quick_gelu"):
        layout.plan(bare, request)
    plan = layout.plan(bare, dataclasses.replace(request, activation="gelu"))
    assert plan.parts[0].metadata["activation"] == "gelu"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot read|not a readable"),
        (b"plain", "not a readable file of merges"),
        (gzip.compress(b"\xff\xfe", mtime=0), "not a readable file of merges"),
        (gzip.compress(b"head\na b\nc d\n", mtime=0), "does not hold the 12 merges"),
        (gzip.compress(b"head\n" + b"a b c\n" * 12, mtime=0), "does not hold the 12 merges"),
        (gzip.compress(bytes(1 << 25), mtime=0), "does not hold the 12 merges"),
        (gzip.compress(b"head\n" + b"a b\n" * 99, mtime=0)[:-4], "not a readable file of merges"),
    ],
)
def test_other_files_of_words(tmp_path, text, words):
    path = tmp_path / "merges.txt.gz"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(DataError, match=words) as caught:
        openai_clip.read_vocabulary(str(path), words=526)
    assert str(path) in str(caught.value)
