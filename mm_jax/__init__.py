"""Micromotions in the latent space of StyleGAN2: found from prompts, transferred to anyone.

The functions below are the whole way from a random latent to a moving face:

    gen     = mm_jax.load_generator("people")
    clip    = mm_jax.load_clip("people-clip")
    w       = mm_jax.sample_latents(gen, seeds=[0], truncation_psi=0.7)           # [1, L, D]
    anchors = mm_jax.text_anchors(gen, clip, template="a person with {degree} smile", start=w[0])
    sub     = mm_jax.extract_subspace(anchors)
    found   = mm_jax.read_back(gen, clip, sub)                    # is it what was asked for?
    others  = mm_jax.sample_latents(gen, seeds=range(1, 5), truncation_psi=0.7)
    edited  = mm_jax.apply_edit(others, sub, [-1.0, 0.0, 1.0])    # [N, S, L, D]
    images  = mm_jax.synthesize(gen, edited[:, -1])               # [N, H, W, 3] in [-1, 1]

Names are imported on first use, so that `import mm_jax` alone is cheap and starts no JAX backend.
"""

from etils import epy

__version__ = "0.2.0"

__all__ = [
    "DEFAULT_DEGREES",
    "MOTIONS",
    "AnchorOptions",
    "Anchors",
    "ArcFace",
    "Calibration",
    "Clip",
    "DataError",
    "EditOptions",
    "Encoder",
    "Generator",
    "GeneratorConfig",
    "Inversion",
    "InvertOptions",
    "Latents",
    "Lpips",
    "Motion",
    "MotionTruth",
    "ReadBack",
    "Subspace",
    "SubspaceOptions",
    "TuneOptions",
    "Tuning",
    "UsageError",
    "VideoAnchorOptions",
    "__version__",
    "apply_edit",
    "calibrate",
    "calibrated",
    "decouple",
    "embed_faces",
    "encode",
    "encode_image",
    "encode_text",
    "extract_subspace",
    "identity_loss",
    "invert",
    "keep_freed_memory",
    "latent_svd",
    "load_anchors",
    "load_arcface",
    "load_clip",
    "load_encoder",
    "load_generator",
    "load_generator_dir",
    "load_latents",
    "load_lpips",
    "load_subspace",
    "lpips",
    "make_mesh",
    "mean_latent",
    "motion_truth",
    "read_back",
    "replicate",
    "sample_latents",
    "save_anchors",
    "save_arcface",
    "save_encoder",
    "save_generator",
    "save_latents",
    "save_lpips",
    "save_subspace",
    "seeds_to_z",
    "skip_images",
    "synthesize",
    "synthesize_from_styles",
    "text_anchors",
    "to_stylespace",
    "tune_generator",
    "video_anchors",
]

with epy.lazy_api_imports(globals()):
    from mm_jax.allocator import keep_freed_memory
    from mm_jax.anchors.calibrate import calibrate, calibrated
    from mm_jax.anchors.decouple import decouple
    from mm_jax.anchors.options import AnchorOptions, VideoAnchorOptions
    from mm_jax.anchors.prompts import DEFAULT_DEGREES, MOTIONS, Motion
    from mm_jax.anchors.readback import ReadBack, read_back
    from mm_jax.anchors.text import text_anchors
    from mm_jax.anchors.video import video_anchors
    from mm_jax.artifacts import (
        Anchors,
        Latents,
        Subspace,
        load_anchors,
        load_latents,
        load_subspace,
        save_anchors,
        save_latents,
        save_subspace,
    )
    from mm_jax.checkpoints import load_generator_dir, save_generator
    from mm_jax.edit_metrics import MotionTruth, motion_truth
    from mm_jax.editing.affine import apply_edit
    from mm_jax.editing.options import EditOptions
    from mm_jax.encoders.encoder import Encoder, encode, load_encoder, save_encoder
    from mm_jax.errors import DataError, UsageError
    from mm_jax.inversion.invert import Inversion, invert
    from mm_jax.inversion.options import InvertOptions, TuneOptions
    from mm_jax.inversion.tuning import Tuning, tune_generator
    from mm_jax.latents import (
        mean_latent,
        sample_latents,
        seeds_to_z,
        skip_images,
        synthesize,
        synthesize_from_styles,
        to_stylespace,
    )
    from mm_jax.parallel import make_mesh, replicate
    from mm_jax.perceptual.arcface import (
        ArcFace,
        embed_faces,
        identity_loss,
        load_arcface,
        save_arcface,
    )
    from mm_jax.perceptual.clip import Clip, encode_image, encode_text
    from mm_jax.perceptual.clip_files import load_clip
    from mm_jax.perceptual.lpips import Lpips, load_lpips, lpips, save_lpips
    from mm_jax.stylegan2.config import GeneratorConfig
    from mm_jax.stylegan2.generator import Generator
    from mm_jax.subspace.calibration import Calibration
    from mm_jax.subspace.decompose import extract_subspace
    from mm_jax.subspace.latent_svd import latent_svd
    from mm_jax.subspace.options import SubspaceOptions
    from mm_jax.zoo import load_generator


def __dir__() -> list[str]:
    return list(__all__)
