"""The encoder that a flag names."""

from __future__ import annotations

from mm_jax.encoders.encoder import Encoder, load_encoder
from mm_jax.errors import DataError
from mm_jax.stylegan2.generator import Generator

__all__ = ["open_encoder"]


def open_encoder(name: str, generator: str, gen: Generator) -> Encoder | None:
    """The encoder; "auto" is the bundled one for the bundled generator, and none for others.

    Args:
        name: a bundled name, a folder, "none" or "auto".
        generator: the name or folder of the generator.
        gen: the generator.

    Raises:
        UsageError: an unknown name. DataError: a damaged folder, or codes of another shape.
    """
    if name == "none" or (name == "auto" and generator != "synthface"):
        return None
    encoder = load_encoder("synthface-encoder" if name == "auto" else name)
    have, want = (encoder.config.rows, encoder.config.width), (gen.config.num_ws, gen.config.w_dim)
    if have != want:
        raise DataError(
            f"--encoder={name} gives codes {list(have)}, those of {gen.name} are {list(want)}"
        )
    if encoder.config.in_channels != gen.config.img_channels:
        raise DataError(f"--encoder={name} looks at pictures of another kind than photographs")
    return encoder
