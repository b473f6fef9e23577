"""All benchmarks, one after another: python -m benchmarks [--quick] [--only synthesis,rpca]."""

from __future__ import annotations

import argparse
import importlib

from benchmarks import common

TOPICS = (
    "startup",
    "synthesis",
    "gradient",
    "rpca",
    "media",
    "text_anchors",
    "shortcut",
    "batch",
    "memory",
    "layers",
    "precision",
    "compiling",
)


def main() -> None:
    """Run the chosen topics one after another."""
    parser = argparse.ArgumentParser(description=__doc__, add_help=False)
    parser.add_argument("--only", default=",".join(TOPICS))
    own, rest = parser.parse_known_args()
    for topic in own.only.split(","):
        if topic not in TOPICS:
            parser.error(f"no benchmark {topic!r}, known are {', '.join(TOPICS)}")
        importlib.import_module(f"benchmarks.{topic}").main(rest)


if __name__ == "__main__":
    raise SystemExit(common.start(main))
