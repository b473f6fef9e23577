"""Settings that every test runs under; they are made before JAX is first imported."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
from absl import flags

# A rank that is raised silently is a shape error that has not been noticed yet.
jax.config.update("jax_numpy_rank_promotion", "raise")

# Libraries that read the global absl flags find them parsed, as they would inside a binary.
flags.FLAGS.mark_as_parsed()
