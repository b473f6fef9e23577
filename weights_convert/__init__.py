"""Foreign checkpoints to this project's parameters, without torch: one table per layout."""
