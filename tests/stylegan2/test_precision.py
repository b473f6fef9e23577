"""Products in bfloat16: near float32, wherever a generator is used, and only where asked for."""

import functools
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mm_jax
from mm_jax.errors import UsageError
from mm_jax.stylegan2 import precision, winograd
from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.conv import conv2d
from mm_jax.stylegan2.generator import Generator, make_generator

# What one layer's result may be off by, in units of its deviation, and a whole image's.
LAYER, IMAGE = 1.5e-2, 1e-2


@pytest.fixture(scope="module")
def gen():
    """Its last layer is wide and large enough for Winograd's form in bfloat16."""
    config = GeneratorConfig(resolution=32, channels=(8, 8, 8, 24), z_dim=8, w_dim=8)
    random = np.random.default_rng(0)

    def draw(leaf):
        return jnp.asarray(random.standard_normal(leaf.shape), jnp.float32)

    return make_generator(config, jax.tree.map(draw, dict(Generator.shapes(config))))


@pytest.fixture(scope="module")
def ws(gen):
    return jax.random.normal(jax.random.key(1), (2, gen.config.num_ws, gen.config.w_dim))


def relative(found, wanted):
    found, wanted = np.asarray(found), np.asarray(wanted)
    return np.sqrt(np.mean((found - wanted) ** 2)) / wanted.std()


@jax.jit
def images_and_gradient(gen, ws):
    def loss(ws):
        images = mm_jax.synthesize(gen, ws)
        return jnp.sum(jnp.square(images)), images

    gradient, images = jax.grad(loss, has_aux=True)(ws)
    return images, gradient


def test_a_layer_is_near_float32_in_both_directions():
    x = jax.random.normal(jax.random.key(0), (2, 16, 128, 64))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 64, 64)) / 24

    @functools.partial(jax.jit, static_argnames="precision")
    def both(x, kernel, precision):
        y, pull = jax.vjp(lambda x: conv2d(x, kernel, precision=precision), x)
        return y, pull(x)[0]

    low, exact = both(x, kernel, "bfloat16"), both(x, kernel, "float32")
    for found, wanted in zip(low, exact, strict=True):
        assert found.dtype == wanted.dtype == jnp.float32
        assert 1e-4 < relative(found, wanted) < LAYER


def test_images_and_gradients_are_near_float32_under_jit_and_vmap(gen, ws):
    low = gen.with_precision("bfloat16")
    exact, found = images_and_gradient(gen, ws), images_and_gradient(low, ws)
    for wanted, near in zip(exact, found, strict=True):
        assert 1e-5 < relative(near, wanted) < IMAGE
    each = jax.jit(jax.vmap(lambda w: mm_jax.synthesize(low, w[None])[0]))(ws)
    assert relative(each, found[0]) < IMAGE


def test_sums_are_of_float32_and_the_default_has_no_bfloat16(gen, ws):
    def text(gen):
        return images_and_gradient.lower(gen, ws).as_text()

    plain = text(gen)
    assert "bf16" not in plain
    assert plain == text(gen.with_precision("bfloat16").with_precision("float32"))
    low = text(gen.with_precision("bfloat16"))
    products = [line for line in low.splitlines() if "dot_general" in line and "bf16" in line]
    assert len(products) == 2  # of the last layer, and of its gradient
    assert all(re.search(r"xbf16>, tensor<\S+xbf16>\) -> tensor<\S+xf32>", p) for p in products)


def test_parameters_and_files_do_not_know_it(gen, tmp_path):
    low = gen.with_precision("bfloat16")
    assert low.fingerprint == gen.fingerprint
    mm_jax.save_generator(low, tmp_path / "gen")
    assert "precision" not in json.loads((tmp_path / "gen/config.json").read_text())["architecture"]
    assert mm_jax.load_generator(tmp_path / "gen").config == gen.config
    loaded = mm_jax.load_generator(tmp_path / "gen", precision="bfloat16")
    assert loaded.config == low.config != gen.config
    with pytest.raises(UsageError, match="unknown generator setting precision"):
        GeneratorConfig.from_dict({"precision": "bfloat16"})


@pytest.mark.parametrize(
    ("platform", "flags", "wanted"),
    [
        ("cpu", "fpu avx512f avx512_bf16", "bfloat16"),
        ("cpu", "fpu avx512f", "float32"),
        ("cpu", None, "float32"),
        ("gpu", "fpu avx512f avx512_bf16", "float32"),
    ],
)
def test_auto_takes_it_where_it_was_measured_to_pay(monkeypatch, tmp_path, platform, flags, wanted):
    if flags is not None:
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\nprocessor\t: 1\n")
    monkeypatch.setattr(precision, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(jax, "default_backend", lambda: platform)
    assert precision.resolve("auto") == wanted
    assert precision.resolve("float32") == "float32"


def test_what_cannot_be_is_refused(monkeypatch):
    with pytest.raises(UsageError, match="must be one of float32, bfloat16, auto, got 'half'"):
        mm_jax.load_generator("people", precision="half")
    with pytest.raises(UsageError, match="precision must be one of float32, bfloat16, got 'auto'"):
        GeneratorConfig(precision="auto")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with pytest.raises(UsageError, match="bfloat16 is for CPUs, and this is a gpu: give float32"):
        precision.resolve("bfloat16")


def test_it_pays_for_more_layers_than_in_float32():
    x, kernel = (1, 1024, 1024, 32), (3, 3, 32, 32)
    assert winograd.pays(x, kernel, "bfloat16") and not winograd.pays(x, kernel)
    assert not winograd.pays((1, 64, 64, 16), (3, 3, 16, 16), "bfloat16")
    assert not winograd.pays((1, 8, 8, 512), (3, 3, 512, 512), "bfloat16")
