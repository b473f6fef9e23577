"""The command-line programs; installed as `mm_jax_bin`."""
