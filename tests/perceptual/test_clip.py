"""CLIP: parity with PyTorch's outputs, the tokenizer's end, and how it behaves under jit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mm_jax.errors import DataError, UsageError
from mm_jax.perceptual.clip import (
    Clip,
    clip_from_params,
    encode_image,
    encode_pixels,
    encode_text,
    encode_token_ids,
    normalise,
)
from mm_jax.perceptual.clip_files import load_clip
from mm_jax.perceptual.clip_tokens import ClipTokenizer
from mm_jax.perceptual.hugging_face import has_flax_classes
from tests.conftest import make_clip, make_tokenizer


@pytest.fixture(scope="module")
def golden_clip(goldens: Path, tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """The golden network; its folder holds no tokenizer, so one of the same vocabulary is added."""
    folder = tmp_path_factory.mktemp("golden_clip")
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((goldens / "clip_small" / name).read_bytes())
    make_tokenizer(vocab_size=512).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        '{"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}'
    )
    return load_clip(folder)


@pytest.fixture(scope="module")
def expected(goldens: Path) -> dict[str, np.ndarray]:
    with np.load(goldens / "clip_small" / "expected.npz") as archive:
        return dict(archive)


def test_pictures_have_torchs_vectors(golden_clip: Clip, expected: dict[str, np.ndarray]) -> None:
    pixels = jnp.asarray(expected["in_pixels"].transpose(0, 2, 3, 1))
    vectors = encode_pixels(golden_clip, pixels)
    np.testing.assert_allclose(vectors, expected["image_embeds_normalised"], atol=2e-6)
    # 32 px is the network's own size, so the paper's preprocessing changes nothing.
    styleclip = encode_image(golden_clip, pixels, preprocess="styleclip")
    np.testing.assert_allclose(styleclip, expected["image_embeds_normalised"], atol=2e-6)


def test_texts_have_torchs_vectors(golden_clip: Clip, expected: dict[str, np.ndarray]) -> None:
    vectors = encode_token_ids(golden_clip, jnp.asarray(expected["in_ids"]))
    np.testing.assert_allclose(vectors, expected["text_embeds_normalised"], atol=2e-6)


def test_losses_and_gradients_are_torchs(
    golden_clip: Clip, expected: dict[str, np.ndarray]
) -> None:
    texts = encode_token_ids(golden_clip, jnp.asarray(expected["in_ids"]))

    def losses(pixels: jax.Array) -> jax.Array:
        return 1 - encode_image(golden_clip, pixels, preprocess="styleclip") @ texts.T

    pixels = jnp.asarray(expected["in_pixels"].transpose(0, 2, 3, 1))
    np.testing.assert_allclose(losses(pixels), expected["styleclip_loss_per_pair"], atol=2e-6)
    gradient = jax.grad(lambda p: losses(p).sum())(pixels)
    wanted = expected["grad_pixels_of_sum_loss"].transpose(0, 2, 3, 1)
    np.testing.assert_allclose(gradient, wanted, atol=1e-4 * np.abs(wanted).max())


def test_clip_preprocessing_normalises(golden_clip: Clip) -> None:
    pixels = jnp.full((1, 2, 2, 3), -1.0).at[0, 0, 0].set(1.0)
    shown = normalise(golden_clip.spec, pixels, preprocess="clip")
    np.testing.assert_allclose(shown[0, 0, 0], [0.5 / 0.2, 0.6 / 0.3, 0.7 / 0.4], rtol=1e-6)
    np.testing.assert_allclose(shown[0, 1, 1], [-0.5 / 0.2, -0.4 / 0.3, -0.3 / 0.4], rtol=1e-6)
    pictures = jax.random.uniform(jax.random.key(0), (2, 64, 64, 3), minval=-1.0)
    pooled = pictures.reshape(2, 32, 2, 32, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(
        encode_image(golden_clip, pictures),
        encode_pixels(golden_clip, normalise(golden_clip.spec, pooled, preprocess="clip")),
        atol=2e-6,
    )


@pytest.mark.skipif(not has_flax_classes(), reason="this transformers has no Flax classes")
def test_agrees_with_transformers_own_model(tiny_clip: Clip, tiny_clip_dir: Path) -> None:
    from transformers import AutoTokenizer, FlaxCLIPModel

    texts = ["a person with 30% smile", "no angry"]
    pixels = jax.random.normal(jax.random.key(1), (3, 16, 16, 3))
    model: Any = FlaxCLIPModel.from_pretrained(tiny_clip_dir)
    tokens = AutoTokenizer.from_pretrained(tiny_clip_dir)(texts, padding=True, return_tensors="np")
    by_text = model.get_text_features(tokens["input_ids"], tokens["attention_mask"])
    by_image = model.get_image_features(pixels.transpose(0, 3, 1, 2))

    def unit(features: Any) -> Any:
        return features / jnp.linalg.norm(features, axis=-1, keepdims=True)

    np.testing.assert_allclose(encode_text(tiny_clip, texts), unit(by_text), atol=2e-6)
    np.testing.assert_allclose(encode_pixels(tiny_clip, pixels), unit(by_image), atol=2e-6)


def test_legacy_end_token_reads_the_same_output(tiny_clip: Clip) -> None:
    """OpenAI's configurations name id 2 as the end, and mean the highest id of the text."""
    texts = ["a person with 30% smile", "angry"]
    legacy = make_clip(legacy_end=True)
    assert legacy.spec != tiny_clip.spec
    np.testing.assert_array_equal(encode_text(legacy, texts), encode_text(tiny_clip, texts))


def test_texts_do_not_depend_on_their_company(tiny_clip: Clip) -> None:
    texts = ["a person with 30% smile", "angry", "a 100% old person with gray hair"]
    together = encode_text(tiny_clip, texts)
    for i, text in enumerate(texts):
        np.testing.assert_allclose(together[i], encode_text(tiny_clip, [text])[0], atol=1e-6)
    np.testing.assert_allclose(jnp.linalg.norm(together, axis=1), 1.0, rtol=1e-6)
    assert float(jnp.max(together @ together.T - 2 * jnp.eye(3))) < 0.99


def test_parameters_are_arguments_not_constants(tiny_clip: Clip) -> None:
    traces = 0

    @jax.jit
    def similarity(clip: Clip, images: jax.Array) -> jax.Array:
        nonlocal traces
        traces += 1
        return encode_image(clip, images).sum()

    images = jnp.ones((1, 16, 16, 3))
    other = make_clip(seed=1)
    first, second = similarity(tiny_clip, images), similarity(other, images)
    assert traces == 1
    assert abs(float(first - second)) > 1e-3
    text = similarity.lower(tiny_clip, images).as_text()
    assert max(len(line) for line in text.splitlines()) < 5000, "weights are in the program"


def test_vmap_and_double_gradient_batch(tiny_clip: Clip) -> None:
    images = jax.random.normal(jax.random.key(2), (2, 3, 8, 8, 3))
    mapped = jax.vmap(lambda batch: encode_image(tiny_clip, batch))(images)
    flat = encode_image(tiny_clip, images.reshape(6, 8, 8, 3))
    np.testing.assert_allclose(mapped.reshape(6, -1), flat, atol=2e-6)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_lowers_for_accelerators(tiny_clip: Clip, platform: str) -> None:
    def loss(clip: Clip, images: jax.Array) -> jax.Array:
        return encode_image(clip, images).sum()

    traced = jax.jit(jax.grad(loss, argnums=1)).trace(tiny_clip, jnp.zeros((1, 32, 32, 3)))
    assert traced.lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((8, 8, 3), np.float32), r"got one of shape \[8, 8, 3\]: add an axis"),
        (np.zeros((1, 3, 8, 8), np.float32), r"\[N, H, H, 3\], got shape \[1, 3, 8, 8\]"),
        (np.zeros((1, 8, 6, 3), np.float32), "must be square"),
        (np.zeros((1, 8, 8, 3), np.uint8), "must be float in .*, got uint8"),
    ],
)
def test_bad_pictures(tiny_clip: Clip, images: np.ndarray, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        encode_image(tiny_clip, jnp.asarray(images))


def test_bad_preprocess(tiny_clip: Clip) -> None:
    with pytest.raises(UsageError, match="one of clip, styleclip, got 'none'"):
        encode_image(tiny_clip, jnp.zeros((1, 8, 8, 3)), preprocess="none")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("angry", "must be a list of strings, got the single string"),
        ([], "at least one text"),
        (["angry", 3], r"must be strings, got 3 \(int\)"),
        (["a " * 40], "has 42 tokens, the model reads at most 16"),
    ],
)
def test_bad_texts(tiny_clip: Clip, texts: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        encode_text(tiny_clip, texts)
    assert "\n" not in str(error.value)


def test_a_tokenizer_that_does_not_fit_is_refused(tiny_clip: Clip) -> None:
    tokenizer = make_tokenizer()
    end = max(tokenizer.get_vocab().values())

    def wrap(tokenizer: Any, end_id: int, vocab_size: int = 512) -> ClipTokenizer:
        return ClipTokenizer(tokenizer, end_id=end_id, vocab_size=vocab_size, context_length=16)

    with pytest.raises(DataError, match=f"ends texts with id {end}, but .* is 7"):
        wrap(tokenizer, 7)
    with pytest.raises(DataError, match="not a fast tokenizer"):
        wrap(object(), end)
    with pytest.raises(DataError, match=f"gives id {end}, the model knows {end} tokens"):
        wrap(tokenizer, end, vocab_size=end)(["angry"])
    higher = make_tokenizer()
    higher.add_tokens(["later"])
    with pytest.raises(DataError, match=f"legacy.*its highest is {end + 1}"):
        wrap(higher, 2)
    bare = make_tokenizer()
    from tokenizers import processors

    bare.backend_tokenizer.post_processor = processors.Sequence([])
    with pytest.raises(DataError, match="no end token"):
        wrap(bare, end)


@pytest.mark.parametrize("std", [(0.2, 0.2), (0.2, 0.2, 0.0), "abc", None])
def test_bad_pixel_statistics(tiny_clip: Clip, std: Any) -> None:
    spec = tiny_clip.spec
    with pytest.raises(DataError, match="pixels' std must be three"):
        clip_from_params(
            tiny_clip.params,
            config=spec.config,
            tokenizer=spec.tokenizer.tokenizer,
            mean=(0, 0, 0),
            std=std,
        )


def test_importing_the_package_is_cheap() -> None:
    code = (
        "import sys, mm_jax.perceptual, mm_jax.anchors\n"
        "assert 'jax' not in sys.modules\n"
        "import mm_jax.perceptual.clip, mm_jax.perceptual.clip_files\n"
        "assert 'transformers' not in sys.modules and 'torch' not in sys.modules"
    )
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
