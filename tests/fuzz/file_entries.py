"""Ways in for files that people write, and for those that keep a mesh."""

import gzip
import json
import zlib
from typing import Final

import msgspec

from schemas.errors import BadRequest
from schemas.resources import StreamSpec
from shared.backup import Backup, Header, Record, read_archive, write_archive
from shared.mesh_file import load_mesh_file
from shared.profile_file import load_profile
from tests.fuzz.inputs import folder, written


def mesh_file(data: bytes) -> None:
    """mesh.yaml, with a profile beside it."""
    written("night.json", b'{"rotate": 90}')
    load_mesh_file(written("mesh.yaml", data), {"HOME": "/root", "CAM_PASSWORD": "hunter22x"})


def mesh_files() -> list[bytes]:
    return [
        MESH_YAML.encode(),
        b"streams:\n  cam0: rtsp://camera.local/stream1\n",
        b"a: &a [*a]\n",
        b"a: &a [x, x]\nb: *a\n",
    ]


MESH_YAML: Final = """streams:
  cam0: rtsp://user:${CAM_PASSWORD}@camera.local/stream1
  line1:
    source: v4l2:///dev/video0
    size: 1920x1080
    fps: 30
    profile: night.json
    renditions: {main: {codec: h264, bitrate: 4M, key_interval: 2s, encoder: prefer-hw}}
    outputs:
      archive: {rendition: main, to: "file://recordings/{stream}/{start:%Y%m%d-%H%M%S}.mp4", segment: 10m, keep: 7d}
      live: {rendition: source, to: "rtmp://server/app/key"}
    samples: {seen: {every: 1s, to: "file://pictures/{index}.jpg"}}
mixes:
  wall: {layout: grid, size: 1920x1080, fps: 30, inputs: [mesh://cam0, {source: mesh://line1, x: 0, y: 0}], logos: []}
signals:
  do1: {mode: modbus, address: "tcp://plc:502/1/coil/3", safe: off, keep: 200ms}
inputs:
  di1: {mode: gpio, address: "gpio://gpiochip0/3", debounce: 5ms}
rules:
  reject: {when: "app.line1.ng", do: [{signal: do1, pulse: 200ms}, {clip: line1, before: 5s, after: 2s}], cooldown: 1s}
defaults: {renditions: {bitrate: 4M}}
"""


def profile(data: bytes) -> None:
    """A profile of a camera's picture."""
    load_profile(written("profile.json", data))


def profiles() -> list[bytes]:
    masked = {"crop": "64x48+0+0", "rotate": 90, "masks": [{"x": 0, "y": 0, "width": 1, "height": 1}]}
    camera = {"size": "640x480", "fps": 25, "binning": "2x2", "trigger": "Line1", "controls": {"Gain": 3}}
    return [json.dumps(one).encode() for one in (masked, camera, {})]


def backup(data: bytes) -> None:
    """A backup, packed and as its lines: `framemesh restore` reads what it is given."""
    for content in (data, gzip.compress(data, 1)):
        path = written("mesh.backup", content)
        try:
            read_archive(path)
        except BadRequest:
            continue


def backups() -> list[bytes]:
    spec = StreamSpec(stream="cam0", source="test://", node="n")
    records = [
        Record(
            bucket="mesh_desired", key=f"capture.cam{number}", value=msgspec.json.encode(spec).decode(), revision=number
        )
        for number in (1, 2)
    ]
    path = folder() / "seed.backup"
    path.unlink(missing_ok=True)
    header = Header(version="0.1.0", made_ns=1, schemas={"capture": 1}, secrets=True)
    write_archive(Backup(header, records), path)
    plain = gzip.decompress(path.read_bytes())
    return [plain, plain + b"\n", zlib.compress(plain)]
