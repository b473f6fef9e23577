"""Images to latents by optimisation, and generators tuned to images."""
