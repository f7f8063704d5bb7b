"""Every way in which a task can fail, from the submission to the code that polling it is answered with."""

import asyncio
import json
import struct
import subprocess
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.extractors import Extractors, make_clip
from tests.support.pace import Patience
from tests.support.peers import free_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

OPERATOR = {"operator_id": "las_video_frame_extract", "operator_version": "v1"}
TEMPLATE = "tos://my-bucket/frames/{index}.{autoext}"
FINE = "tos://my-bucket/fine.mp4"


def huge_png() -> bytes:
    """The header of a picture of 16,000 x 16,000, and next to nothing in it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 16_000, 16_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(999))) + chunk(b"IEND", b"")
    )


def make_videos(bucket: Path) -> None:
    fine = make_clip(bucket / "fine.mp4", 1.0).read_bytes()
    content = fine.index(b"mdat") + 4
    (bucket / "zeros.mp4").write_bytes(
        fine[:content] + bytes(fine.index(b"moov") - 4 - content) + fine[fine.index(b"moov") - 4 :]
    )
    (bucket / "short.mp4").write_bytes(fine[:900])
    (bucket / "empty.mp4").write_bytes(b"")
    (bucket / "huge.mp4").write_bytes(huge_png())
    (bucket / "list.mp4").write_text("ffconcat version 1.0\nfile fine.mp4\n")
    given = ["ffmpeg", "-v", "error", "-i", str(bucket / "fine.mp4")]
    for name, options in (
        ("sound.mp4", ["-f", "lavfi", "-i", "sine=duration=0.3", "-map", "1"]),
        ("other.nut", ["-c", "copy"]),
        ("hours.mkv", ["-c:v", "mjpeg", "-vf", "select=lt(n\\,2),setpts=N*20000/TB", "-vsync", "vfr"]),
        ("month.mkv", ["-c:v", "mjpeg", "-vf", "select=lt(n\\,2),setpts=N*2000000/TB", "-vsync", "vfr"]),
    ):
        subprocess.run([*given, *options, str(bucket / name)], check=True, timeout=30)


@pytest.fixture
async def api() -> AsyncIterator[aiohttp.ClientSession]:
    port = free_port()
    async with Extractors(http_port=port, attempts=1, parallel_jobs=2) as extractors:
        bucket = extractors.folder / "data" / "tos" / "my-bucket"
        bucket.mkdir(parents=True)
        (bucket.parent / "blocked").write_text("a file where a bucket should be")
        await asyncio.to_thread(make_videos, bucket)
        extractors.start("one")
        await extractors.up("one")
        async with aiohttp.ClientSession(
            f"http://127.0.0.1:{port}", headers={"Authorization": "Bearer of-this-machine"}
        ) as session:
            yield session
        assert "Traceback" not in extractors.log.read_text()


async def ask(api: aiohttp.ClientSession, verb: str, **fields: Any) -> tuple[int, dict[str, Any]]:
    async with api.post(f"/api/v1/{verb}", json={**OPERATOR, **fields}) as response:
        return response.status, (await response.json())["metadata"]


# One of each way to say it; all addresses are tried on the gate itself.
INSIDE = ("127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]", "169.254.169.254")

FAILURES: list[tuple[dict[str, Any], str, str]] = [
    *(({"video_url": f"http://{host}/a.mp4"}, "Url.Invalid", "video") for host in INSIDE),
    ({"video_url": "tos://my-bucket/not-there.mp4"}, "Video.DownloadFailed", "not-there.mp4"),
    ({"video_url": "tos://no-bucket/a.mp4"}, "Video.DownloadFailed", "no-bucket"),
    ({"video_url": "http://host.invalid/a.mp4"}, "Video.DownloadFailed", "host.invalid"),
    ({"video_url": "tos://my-bucket/empty.mp4"}, "Video.Invalid", "empty.mp4"),
    ({"video_url": "tos://my-bucket/short.mp4"}, "Video.Invalid", "short.mp4"),
    ({"video_url": "tos://my-bucket/sound.mp4"}, "Video.Invalid", "no video"),
    ({"video_url": "tos://my-bucket/huge.mp4"}, "Video.Invalid", "16000x16000"),
    ({"video_url": "tos://my-bucket/month.mkv"}, "Video.Invalid", "2000000"),
    ({"video_url": "tos://my-bucket/hours.mkv", "fps": 10}, "Parameter.Invalid", "max_frames"),
    ({"video_url": "tos://my-bucket/zeros.mp4"}, "Video.FrameExtractionFailed", "zeros.mp4"),
    ({"video_url": "tos://my-bucket/other.nut"}, "Video.FormatUnsupported", "other.nut"),
    ({"video_url": "tos://my-bucket/list.mp4"}, "Video.FormatUnsupported", "list.mp4"),
    ({"video_url": FINE, "output_path_template": "tos://blocked/{index}.jpg"}, "Tos.AccessFailed", "blocked"),
    ({"video_url": FINE, "resize_short_side": 16_384}, "Parameter.Invalid", "resize_short_side"),
    ({"video_url": FINE, "resize_hw": [16_384, None]}, "Parameter.Invalid", "resize_hw"),
]


async def test_every_failure_has_its_code(api: aiohttp.ClientSession) -> None:
    async def outcome(data: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        status, metadata = await ask(api, "submit", data={"output_path_template": TEMPLATE, **data})
        patience = Patience(30)
        while status == 200 and metadata["task_status"] != "COMPLETED":
            assert metadata["task_status"] in ("PENDING", "RUNNING")
            assert not patience.is_over(), data
            await asyncio.sleep(0.1)
            status, metadata = await ask(api, "poll", task_id=metadata["task_id"])
        return status, metadata

    wrong = []
    for data, code, named in FAILURES:
        status, metadata = await outcome(data)
        if (status, metadata["business_code"]) != (400, code) or named not in metadata["error_msg"]:
            wrong.append((data, code, named, status, metadata))
    assert not wrong, json.dumps(wrong, indent=1)
    status, metadata = await outcome({"video_url": FINE})
    assert (status, metadata["business_code"], metadata["error_msg"]) == (200, "0", "")
