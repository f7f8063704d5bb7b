"""Where videos come from and pictures go: folders, object stores, HTTP; guarded, bounded, tried again."""

from services.frame_extractor.storage.counts import StorageCounts, StorageFigures
from services.frame_extractor.storage.errors import StorageError
from services.frame_extractor.storage.place import Place, parse_place
from services.frame_extractor.storage.places import Places
from services.frame_extractor.storage.settings import StorageSettings
from services.frame_extractor.storage.template import PathTemplate, parse_template
from services.frame_extractor.storage.uploads import Uploads
from services.frame_extractor.storage.videos import OpenedVideo
from services.frame_extractor.storage.writer import Writer

__all__ = [
    "OpenedVideo",
    "PathTemplate",
    "Place",
    "Places",
    "StorageCounts",
    "StorageError",
    "StorageFigures",
    "StorageSettings",
    "Uploads",
    "Writer",
    "parse_place",
    "parse_template",
]
