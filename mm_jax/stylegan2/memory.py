"""How many images a generator computes at once where nobody says: what fits in 2 GiB."""

from __future__ import annotations

from mm_jax.stylegan2.config import GeneratorConfig

__all__ = ["images_at_once"]

_BUDGET = 2 << 30
# Bytes that one image takes for each number in the feature maps of all resolutions. Measured at
# 1024 pixels of configuration f on two CPU cores: 6, and 29 with the gradient with respect to W+.
_FORWARD, _GRADIENT = 8, 32


def images_at_once(
    config: GeneratorConfig, *, resolution: int | None = None, gradient: bool = False
) -> int:
    """Images whose computation takes about 2 GiB, at least one.

    Args:
        config: architecture.
        resolution: where synthesis stops, by default at the end.
        gradient: whether it is differentiated.
    """
    last = config.resolution if resolution is None else resolution
    numbers = sum(r * r * config.channels_at(r) for r in config.block_resolutions if r <= last)
    return max(1, _BUDGET // (numbers * (_GRADIENT if gradient else _FORWARD)))
