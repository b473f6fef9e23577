"""From anchors to the low-dimensional subspace of a micromotion."""

from etils import epy

__all__ = ["extract_subspace", "rpca_subspace", "svd_subspace"]

with epy.lazy_api_imports(globals()):
    from mm_jax.subspace.decompose import extract_subspace, rpca_subspace, svd_subspace
