"""From anchors to the low-dimensional subspace of a micromotion."""

from mm_jax.subspace.decompose import extract_subspace, rpca_subspace, svd_subspace
from mm_jax.subspace.latent_svd import latent_svd
from mm_jax.subspace.robust_pca import RobustPCA, robust_pca

__all__ = [
    "RobustPCA",
    "extract_subspace",
    "latent_svd",
    "robust_pca",
    "rpca_subspace",
    "svd_subspace",
]
