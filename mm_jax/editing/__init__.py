"""Latents moved along subspaces, and the images, videos and photos of that."""

from etils import epy

__all__ = ["apply_edit"]

with epy.lazy_api_imports(globals()):
    from mm_jax.editing.affine import apply_edit
