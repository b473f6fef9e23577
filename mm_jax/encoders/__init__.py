"""Pictures to latent codes."""
