"""Frozen networks that compare images with prompts, identities and each other."""

from etils import epy

__all__ = [
    "Clip",
    "area_resize",
    "clip_from_params",
    "encode_image",
    "encode_text",
    "load_clip",
    "save_clip",
]

with epy.lazy_api_imports(globals()):
    from mm_jax.nn.resize import area_resize
    from mm_jax.perceptual.clip import Clip, clip_from_params, encode_image, encode_text
    from mm_jax.perceptual.clip_files import load_clip, save_clip
