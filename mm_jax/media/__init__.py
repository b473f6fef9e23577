"""Image and video files: reading, writing, and files written in the background."""

from etils import epy

__all__ = [
    "frame_sequence",
    "grid",
    "png_bytes",
    "read_image",
    "save_gif",
    "save_mp4",
    "save_png",
    "strip",
    "to_float",
    "to_uint8",
]

with epy.lazy_api_imports(globals()):
    from mm_jax.media.images import (
        frame_sequence,
        grid,
        png_bytes,
        read_image,
        save_gif,
        save_mp4,
        save_png,
        strip,
        to_float,
        to_uint8,
    )
