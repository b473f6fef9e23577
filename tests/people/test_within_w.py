"""A generator whose affine layers see only what W holds."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax.people.within_w import within_w
from mm_jax.stylegan2.networks import map_latents, synthesis


def test_images_of_w_stay_and_other_directions_do_nothing(tiny_people):
    config, params = tiny_people.config, dict(tiny_people.params)
    layer = params["mapping"]["fc0"]
    # W fills the first 20 of its dimensions.
    used = jnp.arange(config.w_dim) < 20
    layer = {"kernel": layer["kernel"] * used[None], "bias": layer["bias"] * used}
    params["mapping"] = {**params["mapping"], "fc0": layer}
    held = within_w(config, params, jax.random.key(3))
    w = map_latents(config, params, jax.random.normal(jax.random.key(2), (4, config.z_dim)))

    def draw(params, w):
        ws = jnp.broadcast_to(w[:, None], (len(w), config.num_ws, config.w_dim))
        return np.asarray(synthesis(config, params, ws, noise_mode="none"))

    shown = draw(params, w)
    np.testing.assert_allclose(draw(held, w), shown, atol=1e-3 * np.abs(shown).max())
    across = w + 3.0 * ~used[None]
    assert np.abs(draw(params, across) - shown).max() > 0.05 * np.abs(shown).max()
    np.testing.assert_allclose(draw(held, across), shown, atol=1e-3 * np.abs(shown).max())
