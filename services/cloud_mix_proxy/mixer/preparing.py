"""A layout with everything that is needed to show it: what can fail in it fails here, before it is seen."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.errors import BadRequest, InvalidValue, OutOfSpace
from schemas.mix_resources import Box, check_mix
from schemas.units import parse_size
from services.cloud_mix_proxy.mixer.colours import RgbImage, yuv_of
from services.cloud_mix_proxy.mixer.layer import Fill, Layer
from services.cloud_mix_proxy.mixer.protocol import Layout
from services.cloud_mix_proxy.mixer.scene import Scene
from services.cloud_mix_proxy.mixer.slate import slate
from services.cloud_mix_proxy.mixer.stills import decode, still_tile
from services.cloud_mix_proxy.mixer.text import check_text
from shared.ring import RingGeometry
from shared.urls import redact

_ROOM: Final = 1.1  # times the ring: others write there too


@dataclass(frozen=True)
class Prepared:
    """One revision of a mix, ready to be shown."""

    layout: Layout
    scene: Scene
    geometry: RingGeometry
    background: Fill
    tiles: Mapping[str, Layer]
    """Of inputs that are still pictures."""
    slates: Mapping[str, Layer]
    """Of inputs that show one when they are lost."""


def prepare(layout: Layout, stills: Mapping[str, bytes]) -> Prepared:
    """Decode and draw whatever does not move; takes as long as its largest picture, so not in the event loop.

    Args:
        stills: by digest.

    Raises:
        InvalidValue: the spec cannot be shown, or one of its pictures is none.
    """
    spec, streams = layout.spec, layout.streams
    check_mix(spec)
    for number, text in enumerate(spec.texts):
        check_text(text, f"texts.{number}")
    width, height = parse_size(spec.size, "size")
    logos = {
        logo.source: _decoded(layout, stills, logo.source, logo.box, f"logos.{number}.source")
        for number, logo in enumerate(spec.logos)
    }
    scene = Scene(spec, logos)
    tiles, slates = {}, {}
    for number, one in enumerate(spec.inputs):
        box = scene.boxes[one.input]
        if one.input not in streams:
            image = _decoded(layout, stills, one.source, box, f"inputs.{number}.source")
            tiles[one.input] = still_tile(image, one, box, height)
        elif one.on_loss == "slate":
            slates[one.input] = slate(one, box, height)
    geometry = RingGeometry("yuv420p", width, height)
    return Prepared(layout, scene, geometry, Fill(yuv_of(spec.background, height)), tiles, slates)


def check_room(shm_dir: Path, geometry: RingGeometry, slots: int) -> None:
    """Raises:
    OutOfSpace: there is no room for a ring of such pictures.
    """
    needed, free = int(geometry.frame_bytes * slots * _ROOM), shutil.disk_usage(shm_dir).free
    if needed > free:
        what = f"a mix of {geometry.width}x{geometry.height}"
        raise OutOfSpace(what, needed, free, "use a smaller size, or a larger FRAMEMESH_SHM_DIR")


def _decoded(layout: Layout, stills: Mapping[str, bytes], source: str, box: Box, field: str) -> RgbImage:
    data, shown = stills.get(layout.stills.get(source, "")), redact(source)[0]  # here it has its password
    if data is None:
        raise InvalidValue(field, shown, "a picture or a stream is needed, and neither was given")
    try:
        return decode(data, (box.width, box.height))
    except BadRequest as error:
        raise InvalidValue(field, shown, error.message) from None
