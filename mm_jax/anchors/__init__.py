"""Anchors: latents of one identity along one micromotion, from prompts or videos."""

from etils import epy

__all__ = [
    "DEFAULT_DEGREES",
    "MOTIONS",
    "Motion",
    "ReadBack",
    "degree_values",
    "fill",
    "read_back",
    "text_anchors",
    "video_anchors",
]

with epy.lazy_api_imports(globals()):
    from mm_jax.anchors.prompts import DEFAULT_DEGREES, MOTIONS, Motion, degree_values, fill
    from mm_jax.anchors.readback import ReadBack, read_back
    from mm_jax.anchors.text import text_anchors
    from mm_jax.anchors.video import video_anchors
