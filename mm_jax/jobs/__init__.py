"""What the binaries do once their flags are read: one module for each, free of flags."""
