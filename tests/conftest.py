"""Test doubles: a CLIP and a tokenizer, small, random and complete, in Hugging Face's layout."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from mm_jax.anchors.prompts import DEFAULT_DEGREES, MOTIONS, fill

START, END, UNKNOWN = "<|startoftext|>", "<|endoftext|>", "<|unknown|>"


def make_tokenizer(*, vocab_size: int | None = None) -> Any:
    """A word-level tokenizer that knows the words of the presets; its end token has the highest id.

    `vocab_size` puts unused words before the two frame tokens, to fit a given model.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    prompts = [fill(motion.template, degree) for motion in MOTIONS.values() for degree in ("no",)]
    words = sorted({word for prompt in prompts for word in prompt.split()})
    words = [UNKNOWN, *words, *(d for d in DEFAULT_DEGREES if d not in words)]
    words += [f"unused{i}" for i in range((vocab_size or 0) - len(words) - 2)]
    vocab = {word: i for i, word in enumerate([*words, START, END])}
    core = Tokenizer(models.WordLevel(vocab, unk_token=UNKNOWN))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, vocab[START]), (END, vocab[END])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token=START, eos_token=END, pad_token=END, unk_token=UNKNOWN
    )


def make_clip(*, seed: int = 0, legacy_end: bool = False, image_size: int = 16) -> Any:
    """A random CLIP with fan-in scaled weights, so that prompts and pictures do differ."""
    from transformers import CLIPConfig

    from mm_jax.perceptual.clip import clip_from_params, clip_module
    from mm_jax.perceptual.clip_files import parameter_shapes

    tokenizer = make_tokenizer()
    tower = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "projection_dim": 24,
    }
    end = max(tokenizer.get_vocab().values())
    text = {
        "vocab_size": end + 1,
        "max_position_embeddings": 16,
        "bos_token_id": end - 1,
        "eos_token_id": 2 if legacy_end else end,
        "pad_token_id": end,
    }
    config = CLIPConfig(
        text_config={**tower, **text},
        vision_config={**tower, "image_size": image_size, "patch_size": image_size // 4},
        projection_dim=24,
    ).to_dict()
    shapes = parameter_shapes(clip_module(config))
    random = np.random.RandomState(seed)
    values = {}
    for path, shape in sorted(shapes.items()):
        fan_in = np.prod(shape[:-1]) if path[-1] == "kernel" else 4.0
        noise = random.standard_normal(shape) / np.sqrt(fan_in)
        values[path] = {"scale": 1.0 + 0.1 * noise, "logit_scale": 3.0}.get(path[-1], noise)
    return clip_from_params(
        unflatten_dict(values),
        config=config,
        tokenizer=tokenizer,
        mean=(0.48, 0.46, 0.41),
        std=(0.27, 0.26, 0.28),
        name="tiny",
    )


def pattern_image(size: int, k: int = 0) -> np.ndarray:
    """The golden sets' smooth test picture: [1, size, size, 3] in [-1, 1], float32."""
    v = ((np.arange(size) + 0.5) / size)[:, None]
    u = ((np.arange(size) + 0.5) / size)[None, :]
    turn = 2 * np.pi
    channels = [
        0.55 * np.sin(turn * ((1 + c + k) * u + (2 + c) * v) + 0.7 * c + 0.3 * k)
        + 0.30 * np.cos(turn * ((3 + k) * u - (2 + 2 * c) * v) + 1.1 * k)
        + 0.15 * np.sin(turn * (5 + c) * u * v + 0.5 * k)
        for c in range(3)
    ]
    return np.stack(channels, axis=-1).astype(np.float32)[None]


def random_params(shapes: Any, *, seed: int = 0) -> Any:
    """Parameters for a tree of shapes: kernels that keep the variance, normals of 0.3 else."""
    import jax

    random = np.random.RandomState(seed)

    def draw(leaf: Any) -> np.ndarray:
        scale = np.sqrt(2.0 / np.prod(leaf.shape[:-1])) if len(leaf.shape) > 1 else 0.3
        return (scale * random.standard_normal(leaf.shape)).astype(np.float32)

    return jax.tree.map(draw, dict(shapes))


def leaves(tree: Any) -> dict[str, np.ndarray]:
    """A tree of parameters as dotted names and numpy arrays."""
    return {".".join(path): np.asarray(leaf) for path, leaf in flatten_dict(dict(tree)).items()}


@pytest.fixture(scope="session")
def tiny_generator() -> Any:
    """A random generator of 16 px: L = 6 rows, D = 12, Z = 10."""
    import jax

    from mm_jax.stylegan2.config import GeneratorConfig
    from mm_jax.stylegan2.generator import make_generator
    from mm_jax.stylegan2.networks import init_params

    config = GeneratorConfig(
        resolution=16, z_dim=10, w_dim=12, mapping_layers=2, channels=(8, 8, 8)
    )
    return make_generator(config, init_params(jax.random.key(0), config), meta={"name": "tiny"})


@pytest.fixture(scope="session")
def random_generator() -> Any:
    """Of 16 px; nothing in it is zero, so that a wrong place shows."""
    import jax

    from mm_jax.stylegan2.config import GeneratorConfig
    from mm_jax.stylegan2.generator import Generator, make_generator

    config = GeneratorConfig(
        resolution=16, z_dim=10, w_dim=12, mapping_layers=2, channels=(8, 8, 8)
    )
    random = np.random.RandomState(0)

    def draw(leaf: Any) -> np.ndarray:
        return random.standard_normal(leaf.shape).astype(np.float32)

    return make_generator(config, jax.tree.map(draw, Generator.shapes(config)))


@pytest.fixture(scope="session")
def tiny_clip() -> Any:
    return make_clip()


@pytest.fixture(scope="session")
def tiny_clip_dir(tiny_clip: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mm_jax.perceptual.clip_files import save_clip

    return save_clip(tiny_clip, tmp_path_factory.mktemp("clip") / "tiny")


@pytest.fixture(scope="session")
def goldens() -> Path:
    return Path(__file__).parent / "goldens"


@pytest.fixture(scope="session")
def rule(goldens: Path) -> ModuleType:
    """The module that makes the goldens' weights."""
    spec = importlib.util.spec_from_file_location("golden_rule", goldens / "rule.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
