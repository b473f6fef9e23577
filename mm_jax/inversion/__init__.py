"""Pictures to latent codes by optimisation, and generators tuned to pictures."""
