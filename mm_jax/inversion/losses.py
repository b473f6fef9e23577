"""How far a rendering is from its image, and how far noise is from white.

Every function gives one number for each image, [N], so that images of a batch do not interact.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from mm_jax.nn.resize import area_resize
from mm_jax.perceptual.lpips import Lpips, lpips

__all__ = [
    "laplacian_distance",
    "noise_autocorrelation",
    "normalise_noise",
    "perceptual_distance",
    "pixel_distance",
    "psnr",
]

# A band of the pyramid counts by its absolute value, rounded off within about a grey level of zero
# so that the distance has a gradient there.
_ROUND = 0.01
_MIN_SIDE = 4
_TAPS = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
# LPIPS was calibrated on small images; larger ones are shown to it at this side, as the
# projector does.
_LPIPS_SIDE = 256
# Below this side, noise is no longer compared with itself.
_NOISE_SIDE = 8


@jax.jit
def pixel_distance(x: jax.Array, y: jax.Array) -> jax.Array:
    """Mean squared difference [N] of images [N, H, W, C]."""
    return jnp.mean(jnp.square(x - y), axis=(1, 2, 3))


@jax.jit
def psnr(x: jax.Array, y: jax.Array) -> jax.Array:
    """Peak signal to noise ratio [N] in dB of images [N, H, W, C], clipped to [-1, 1] first.

    Equal images have 100 dB, so that means stay finite.
    """
    error = pixel_distance(jnp.clip(x, -1.0, 1.0), jnp.clip(y, -1.0, 1.0))
    return 10.0 * jnp.log10(4.0 / jnp.maximum(error, 4e-10))


@jax.jit
def laplacian_distance(x: jax.Array, y: jax.Array) -> jax.Array:
    """Mean absolute difference [N] of the Laplacian pyramids of images [N, H, W, C].

    The sum over the pyramid's levels of each one's mean over pixels: a level counts as much as the
    next, whatever its size, so shape and shading count beside fine lines. The smallest level, of
    a side of about four, is the low-pass rest.

    References: Burt & Adelson 1983; Ling & Okada 2006; Bojanowski et al. 2018, "Optimizing the
    Latent Space of Generative Networks".
    """
    rest = x - y  # the pyramid is linear
    total = jnp.zeros(x.shape[0], jnp.float32)
    while min(rest.shape[1:3]) >= 2 * _MIN_SIDE and not any(side % 2 for side in rest.shape[1:3]):
        smooth = _blur(_blur(rest, 1), 2)
        total += _absolute(rest - smooth)
        n, h, w, c = smooth.shape
        rest = smooth.reshape(n, h // 2, 2, w // 2, 2, c).mean(axis=(2, 4))
    return total + _absolute(rest)


def perceptual_distance(net: Lpips, x: jax.Array, y: jax.Array) -> jax.Array:
    """LPIPS [N] of images [N, H, H, 3], shown at 256 pixels where they are larger."""
    if x.shape[1] > _LPIPS_SIDE:
        x, y = area_resize(x, _LPIPS_SIDE), area_resize(y, _LPIPS_SIDE)
    return lpips(net, x, y)


@jax.jit
def noise_autocorrelation(noise: Mapping[str, jax.Array]) -> jax.Array:
    """How much noise maps {layer: [N, r, r]} resemble themselves shifted by a pixel, [N].

    Squared means of the products with the neighbour to the right and below, at every size from the
    map's own down to 8 pixels; halving averages and multiplies by two, which keeps white noise of
    unit variance what it is. Maps below 8 pixels do not count.

    Reference: Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN",
    appendix D.
    """
    total = jnp.zeros(next(iter(noise.values())).shape[0], jnp.float32)
    for one in noise.values():
        side = one.shape[1]
        while side >= _NOISE_SIDE:
            for axis in (1, 2):
                total += jnp.square(jnp.mean(one * jnp.roll(one, 1, axis=axis), axis=(1, 2)))
            side //= 2
            one = 2.0 * one.reshape(len(one), side, 2, side, 2).mean(axis=(2, 4))
    return total


@jax.jit
def normalise_noise(noise: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """Noise maps {layer: [N, r, r]}, each with mean zero and mean square one."""

    def normal(one: jax.Array) -> jax.Array:
        one = one - one.mean(axis=(1, 2), keepdims=True)
        return one * jax.lax.rsqrt(jnp.mean(jnp.square(one), axis=(1, 2), keepdims=True) + 1e-12)

    return {name: normal(one) for name, one in noise.items()}


def _absolute(band: jax.Array) -> jax.Array:
    rounded = jnp.sqrt(jnp.square(band) + _ROUND**2) - _ROUND
    return rounded.mean(axis=(1, 2, 3))


def _blur(x: jax.Array, axis: int) -> jax.Array:
    """The binomial filter of five taps along one axis, the border repeated."""
    pads = [(0, 0)] * x.ndim
    pads[axis] = (2, 2)
    wide = jnp.pad(x, pads, mode="edge")
    size = x.shape[axis]
    parts = [
        tap * jax.lax.slice_in_dim(wide, t, t + size, axis=axis) for t, tap in enumerate(_TAPS)
    ]
    return parts[0] + parts[1] + parts[2] + parts[3] + parts[4]
