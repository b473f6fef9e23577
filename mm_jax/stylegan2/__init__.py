"""StyleGAN2 (configurations e and f) as pure functions over one parameter tree."""
