"""What the trained generator and encoder are measured by, on z that no training saw."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax.encoders.encoder import Encoder, encode
from mm_jax.latents import synthesize
from mm_jax.perceptual.probe import Probe
from mm_jax.stylegan2.generator import Generator
from mm_jax.synthface import train_generator, train_probe
from mm_jax.synthface.factors import Z_DIM, factors_from_z
from mm_jax.synthface.renderer import Style, render


def measure_generator(
    gen: Generator, judge: Probe, *, count: int = 1000, style: Style = "face"
) -> tuple[np.ndarray, float]:
    """How well pictures of unseen z are what the renderer draws of their factors.

    Returns:
      R2 of each factor that ``judge`` reads from them ``[F]``, and the mean PSNR to the renders in
      dB over the inner face, the middle half of the picture.
    """
    z = jax.random.normal(jax.random.key(777), (count, Z_DIM))
    truth = factors_from_z(z)
    ws = train_generator.mean_ws(gen.params, z)
    made, errors = [], []
    for part in np.split(np.arange(count), count // 20):
        pictures = synthesize(gen, ws[part])
        true = render(truth[part], resolution=gen.config.resolution, style=style)
        r = gen.config.resolution
        face = (slice(None), slice(r // 4, r - r // 4), slice(r // 4, r - r // 4))
        errors.append(
            np.asarray(jnp.mean(jnp.square(0.5 * (pictures - true))[face], axis=(1, 2, 3)))
        )
        made.append(np.asarray(jnp.clip(jnp.round((pictures + 1) * 127.5), 0, 255), np.uint8))
    read = train_probe.read_all(judge, np.concatenate(made))
    psnr = -10 * np.log10(np.concatenate(errors)).mean()
    return train_probe.r_squared(read, np.asarray(truth)), round(float(psnr), 2)


def measure_encoder(gen: Generator, encoder: Encoder, *, count: int = 200) -> dict[str, float]:
    """Mean PSNR over pictures of unseen z, generated and rendered, rebuilt from their codes."""
    z = jax.random.normal(jax.random.key(778), (count, Z_DIM))
    ws = train_generator.mean_ws(gen.params, z)
    figures: dict[str, list[float]] = {"generated": [], "renders": []}
    for part in np.split(np.arange(count), count // 20):
        generated = synthesize(gen, ws[part])
        rendered = render(factors_from_z(z[part]), resolution=gen.config.resolution)
        for kind, pictures in (("generated", generated), ("renders", rendered)):
            rebuilt = synthesize(gen, encode(encoder, pictures))
            error = jnp.mean(jnp.square(0.5 * (rebuilt - pictures)), axis=(1, 2, 3))
            figures[kind] += (-10 * np.log10(np.asarray(error))).tolist()
    return {kind: round(float(np.mean(values)), 2) for kind, values in figures.items()}
