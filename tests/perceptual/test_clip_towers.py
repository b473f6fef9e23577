"""Our CLIP towers are Hugging Face's Flax classes to rounding, and take their place."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from mm_jax import zoo
from mm_jax.errors import DataError
from mm_jax.perceptual import clip as clip_code
from mm_jax.perceptual import hugging_face
from mm_jax.perceptual.clip import clip_module, encode_image, encode_text
from mm_jax.perceptual.clip_files import load_clip, parameter_shapes, save_clip
from mm_jax.perceptual.clip_towers import ClipTowers
from mm_jax.perceptual.hugging_face import has_flax_classes, read_config, towers_in_use
from tests.conftest import make_clip

needs_flax_classes = pytest.mark.skipif(
    not has_flax_classes(), reason="this transformers has no Flax classes"
)

SMALL: dict[str, Any] = {
    "model_type": "clip",
    "projection_dim": 12,
    "text_config": {
        "vocab_size": 40,
        "hidden_size": 24,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "max_position_embeddings": 10,
        "eos_token_id": 39,
    },
    "vision_config": {
        "hidden_size": 32,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 16,
        "patch_size": 4,
    },
}


def configuration(**changes: Any) -> dict[str, Any]:
    """`SMALL` with entries of both towers, or of one by its name, changed."""
    of_text, of_vision = changes.pop("text", {}), changes.pop("vision", {})
    size = changes.pop("projection_dim", SMALL["projection_dim"])
    return {
        **SMALL,
        "projection_dim": size,
        "text_config": {**SMALL["text_config"], **changes, **of_text},
        "vision_config": {**SMALL["vision_config"], **changes, **of_vision},
    }


CONFIGURATIONS = {
    "quick_gelu": configuration(hidden_act="quick_gelu"),
    "gelu": configuration(hidden_act="gelu", projection_dim=40),
    "legacy end": configuration(hidden_act="quick_gelu", text={"eos_token_id": 2}),
    "legacy end, gelu": configuration(
        hidden_act="gelu", text={"eos_token_id": 2}, projection_dim=1
    ),
    "gelu_new, deep": configuration(hidden_act="gelu_new", num_hidden_layers=5),
    "one head, loose norms": configuration(num_attention_heads=1, layer_norm_eps=1e-2),
    "towers that differ": configuration(
        text={"hidden_act": "gelu", "hidden_size": 16, "num_attention_heads": 2},
        vision={"hidden_act": "relu", "num_hidden_layers": 1},
    ),
    "pixels beyond whole patches": configuration(vision={"image_size": 18, "patch_size": 5}),
}


def inputs(config: dict[str, Any], seed: int = 0) -> tuple[Any, Any, Any, Any]:
    """Random texts that end at different places, pixels, masks and places."""
    text, vision = config["text_config"], config["vision_config"]
    random = np.random.RandomState(seed)
    count, length, last = 5, text["max_position_embeddings"], text["vocab_size"] - 1
    ids = random.randint(3, last, (count, length)).astype(np.int32)
    mask = np.ones_like(ids)
    for row, end in enumerate(random.randint(1, length, count)):
        ids[row, end] = last
        mask[row, end + 1 :] = row % 2  # some texts are masked behind their end, some are not
    side = vision["image_size"]
    pixels = random.standard_normal((3, side, side, 3)).astype(np.float32)
    places = np.broadcast_to(np.arange(length, dtype=np.int32), ids.shape)
    return jnp.asarray(ids), jnp.asarray(pixels), jnp.asarray(mask), jnp.asarray(places)


def random_params(shapes: dict[tuple[str, ...], tuple[int, ...]], seed: int = 0) -> Any:
    """Parameters that keep the variance, with norms and biases that do something."""
    random = np.random.RandomState(seed)
    values = {}
    for path, shape in sorted(shapes.items()):
        fan_in = np.prod(shape[:-1]) if path[-1] == "kernel" else 4.0
        noise = random.standard_normal(shape) / np.sqrt(fan_in)
        values[path] = np.asarray(1.0 + noise if path[-1] == "scale" else noise, np.float32)
    return unflatten_dict(values)


def both_modules(config: dict[str, Any], dtype: Any = jnp.float32) -> tuple[Any, Any]:
    """Hugging Face's module, which computes in a given precision, and ours."""
    from transformers.models.clip.modeling_flax_clip import FlaxCLIPModule

    found = read_config(config)
    return FlaxCLIPModule(config=found, dtype=dtype), ClipTowers(found)


def features(module: Any, params: Any, ids: Any, pixels: Any, mask: Any, places: Any) -> Any:
    """All that a tower gives: states of texts and images, and the projected vectors."""

    def towers(module: Any) -> Any:
        text = module.text_model(input_ids=ids, attention_mask=mask, position_ids=places)
        image = module.vision_model(pixel_values=pixels)
        return {
            "text states": text[0],
            "texts": module.text_projection(text[1]),
            "image states": image[0],
            "images": module.visual_projection(image[1]),
        }

    return module.apply({"params": params}, method=towers)


def assert_close(ours: Any, theirs: Any, tolerance: float = 1e-6) -> None:
    """Equal to a part of the largest value of each array."""
    ours, theirs = flatten_dict(dict(ours)), flatten_dict(dict(theirs))
    assert set(ours) == set(theirs)
    for path, wanted in theirs.items():
        scale = max(float(np.abs(wanted).max()), 1e-3)
        np.testing.assert_allclose(
            ours[path] / scale, wanted / scale, rtol=0, atol=tolerance, err_msg=str(path)
        )


@needs_flax_classes
@pytest.mark.parametrize("config", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_parameters_are_hugging_faces(config: dict[str, Any]) -> None:
    """The same tree: folders and trained weights serve both. Initial values are not compared."""
    theirs, ours = both_modules(config)
    assert parameter_shapes(ours) == parameter_shapes(theirs)


@needs_flax_classes
@pytest.mark.parametrize("config", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_outputs_and_gradients_are_hugging_faces(config: dict[str, Any]) -> None:
    """In float64, where 1e-6 is far above rounding; the next test is in float32."""
    theirs, ours = both_modules(config, jnp.float64)
    with jax.enable_x64(True):
        params = jax.tree.map(
            lambda leaf: jnp.asarray(leaf, jnp.float64), random_params(parameter_shapes(ours))
        )
        ids, pixels, mask, places = inputs(config)
        pixels = pixels.astype(jnp.float64)
        found, wanted = (
            features(module, params, ids, pixels, mask, places) for module in (ours, theirs)
        )
        assert_close(found, wanted)
        random = np.random.RandomState(1)
        weights = {name: random.standard_normal(value.shape) for name, value in wanted.items()}

        def gradients(module: Any) -> Any:
            def total(params: Any, pixels: Any) -> jax.Array:
                out = features(module, params, ids, pixels, mask, places)
                return sum(jnp.sum(weights[name] * jnp.sin(out[name])) for name in weights)

            of_params, of_pixels = jax.jit(jax.grad(total, argnums=(0, 1)))(params, pixels)
            return {"params": of_params, "pixels": of_pixels}

        assert_close(gradients(ours), gradients(theirs))


@needs_flax_classes
def test_the_bundled_clip_is_the_same_by_either(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a person with 30% smile", "an old man", "no anger"]
    images = jnp.tanh(jax.random.normal(jax.random.key(0), (3, 64, 64, 3)))

    def everything() -> dict[str, Any]:
        clip_code._module.cache_clear()
        clip = load_clip(zoo.CLIP)
        by_text = encode_text(clip, texts)

        def similarity(images: jax.Array) -> jax.Array:
            return jnp.sum(encode_image(clip, images) * by_text)

        return {
            "towers": type(clip.spec.module).__name__,
            "ids": clip.spec.tokenizer(texts),
            "texts": by_text,
            "images": encode_image(clip, images),
            "gradient": jax.grad(similarity)(images),
        }

    theirs = everything()
    with monkeypatch.context() as patch:
        patch.setattr(hugging_face, "has_flax_classes", lambda: False)
        ours = everything()
    clip_code._module.cache_clear()
    assert (theirs.pop("towers"), ours.pop("towers")) == ("FlaxCLIPModule", "ClipTowers")
    np.testing.assert_array_equal(ours.pop("ids"), theirs.pop("ids"))
    assert_close(ours, theirs)


def test_a_network_of_ours_is_written_and_read(tmp_path: Path) -> None:
    """In Hugging Face's layout, whichever towers this installation uses."""
    clip = make_clip()
    again = load_clip(save_clip(clip, tmp_path / "tiny"))
    towers = ClipTowers(read_config(clip.spec.config))
    ids, pixels, mask, places = inputs(clip.spec.config)
    assert_close(
        features(towers, again.params, ids, pixels, mask, places),
        features(clip.spec.module, clip.params, ids, pixels, mask, places),
    )


def test_masked_tokens_and_later_ones_have_no_influence() -> None:
    config = CONFIGURATIONS["gelu"]
    towers = ClipTowers(read_config(config))
    params = random_params(parameter_shapes(towers))
    ids, pixels, mask, places = inputs(config)
    states = features(towers, params, ids, pixels, mask, places)["text states"]
    later = features(towers, params, ids.at[:, 5:].set(4), pixels, mask, places)["text states"]
    np.testing.assert_array_equal(states[:, :5], later[:, :5])
    assert float(jnp.abs(states[:, 5:] - later[:, 5:]).max()) > 1e-3
    hidden = mask.at[:, 2].set(0)
    changed = features(towers, params, ids.at[:, 2].set(4), pixels, hidden, places)["text states"]
    same = features(towers, params, ids, pixels, hidden, places)["text states"]
    np.testing.assert_array_equal(np.delete(changed, 2, 1), np.delete(same, 2, 1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_act": "selu"}, "hidden_act of the text tower must be one of gelu, .*'selu'"),
        ({"vision": {"num_attention_heads": 5}}, "multiple of"),
        ({"vision": {"hidden_size": "wide"}}, "hidden_size"),
        ({"text": {"vocab_size": 0}}, "vocab_size of the text tower must be .*at least 1, got 0"),
        ({"projection_dim": None}, "projection_dim must be a whole number"),
    ],
)
def test_configurations_that_no_tower_can_have(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        clip_module(configuration(**changes))
    assert "\n" not in str(error.value)


def test_it_is_said_which_towers_are_in_use() -> None:
    version = metadata.version("transformers")
    wanted = "Hugging Face's FlaxCLIPModule" if int(version.split(".")[0]) < 5 else "our own"
    assert wanted in towers_in_use() and version in towers_in_use()
    assert type(clip_module(SMALL)).__name__ in towers_in_use()
