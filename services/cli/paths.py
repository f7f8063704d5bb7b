"""Paths on the command line."""

from pathlib import Path


def path_argument(text: str) -> Path:
    """argparse type: `~` is the home folder."""
    return Path(text).expanduser()


def source_argument(text: str) -> str:
    """argparse type of `--source`: a URL, or the path of a file on this machine."""
    if "://" in text:
        return text
    return Path(text).expanduser().resolve().as_uri()
