"""An npm that does what a test says."""

from __future__ import annotations


def make_npm(folder, script):
    """The only program on the path: an npm that runs a shell script."""
    folder.mkdir()
    npm = folder / "npm"
    npm.write_text(f"#!/bin/sh\n{script}\n")
    npm.chmod(0o755)
    return str(folder)
