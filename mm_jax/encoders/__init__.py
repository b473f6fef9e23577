"""Images to latents."""

from etils import epy

__all__ = ["Encoder", "encode", "load_encoder", "make_encoder", "open_encoder", "save_encoder"]

with epy.lazy_api_imports(globals()):
    from mm_jax.encoders.encoder import (
        Encoder,
        encode,
        load_encoder,
        make_encoder,
        open_encoder,
        save_encoder,
    )
