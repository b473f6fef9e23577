"""The description for a package index; all other metadata is in setup.cfg."""

import re
from pathlib import Path

from setuptools import setup


def described(readme: str) -> str:
    """A README without what a package index cannot show: its links into the repository.

    Images go, of other links the text stays; those to the web and within the page are kept.
    """
    inside = r"\((?!https?:|#)[^)\s]+\)"
    without = re.sub(rf"!\[[^\]]*\]{inside}\n*", "", readme)
    return re.sub(rf"\[([^\]]*)\]{inside}", r"\1", without)


if __name__ == "__main__":
    setup(
        long_description=described(Path(__file__).with_name("README.md").read_text("utf-8")),
        long_description_content_type="text/markdown",
    )
