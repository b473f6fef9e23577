"""XLA:CPU has quick kernels for plain convolutions only, and inside loops rewrites none to them.

So the compiled program itself is looked at: of a loop over gradients, as in anchors and inversion,
every convolution must be plain. That the check can fail is seen from what autodiff writes.
"""

import re

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from mm_jax.latents import synthesize
from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.generator import Generator, make_generator

pytestmark = pytest.mark.skipif(jax.default_backend() != "cpu", reason="about XLA:CPU")


def slow_convolutions(function, *arguments):
    """Those in the compiled program that are not plain, by their attributes, and how many are."""
    text = jax.jit(function).lower(*arguments).compile().as_text()
    found = re.findall(r" convolution\(.*", text)
    plain = re.compile(r"dim_labels=b01f_01io->b01f")
    odd = re.compile(r"lhs_dilate|rhs_dilate|rhs_reversal|feature_group_count|batch_group_count")
    return [c for c in found if odd.search(c) or not plain.search(c)], len(found)


def descent(loss, x):
    return lax.scan(lambda x, _: (x - jax.grad(loss)(x), None), x, None, length=3)[0]


def test_gradients_of_pictures_in_a_loop_are_plain_convolutions():
    config = GeneratorConfig(resolution=32, channel_base=512, channel_max=16, z_dim=8, w_dim=8)
    gen = make_generator(
        config,
        jax.tree.map(
            lambda leaf: jnp.ones(leaf.shape, jnp.float32), dict(Generator.shapes(config))
        ),
    )
    ws = jnp.ones((2, config.num_ws, config.w_dim))
    slow, count = slow_convolutions(
        lambda gen, ws: descent(lambda ws: jnp.sum(synthesize(gen, ws) ** 2), ws), gen, ws
    )
    assert count > 10 and not slow


def test_the_check_sees_what_autodiff_writes():
    x, kernel = jnp.ones((1, 8, 8, 4)), jnp.ones((3, 3, 4, 4))

    def loss(x):
        y = lax.conv_general_dilated(
            x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return jnp.sum(y**2)

    slow, _ = slow_convolutions(lambda x: descent(loss, x), x)
    assert slow
