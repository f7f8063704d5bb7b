"""A camera through harvesters and a GenTL producer."""

from collections.abc import Iterator
from pathlib import Path

from schemas.errors import Unavailable
from services.capture.genicam.camera import Camera, Found


def producer_files(configured: tuple[Path, ...]) -> tuple[Path, ...]:
    return ()


def find_with_producers(producers: tuple[Path, ...]) -> Iterator[Found]:
    raise Unavailable("not yet")


def open_with_producer(found: Found) -> Camera:
    raise Unavailable("not yet")
