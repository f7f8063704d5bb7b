"""A playlist may be short and lead to more than a video may have: what its entries send is counted."""

import subprocess
from pathlib import Path

import pytest

from schemas.extraction import SubmitJob
from schemas.sampling import Sampling
from services.frame_extractor.engine import Limits
from services.frame_extractor.extraction import Extraction, ExtractionFailed
from services.frame_extractor.storage import Places, StorageSettings
from tests.support.media_server import MediaServer, clip, media_server

pytestmark = pytest.mark.integration


def run(url: str, tmp_path: Path, video_bytes: int) -> int:
    settings = StorageSettings(data_dir=tmp_path, allow_private=True, video_bytes=video_bytes)
    request = SubmitJob(video=url, to="file://hls/{index}.jpg", sampling=Sampling(mode="fps", fps=2))
    with Extraction(request, Places(settings, {}), Limits(), threads=2) as extraction:
        return len(extraction.run()[1])


def serve(server: MediaServer, tmp_path: Path) -> int:
    """Four segments of a second; how many bytes they have."""
    (tmp_path / "clip.mp4").write_bytes(clip("mp4", 120))
    command = f"ffmpeg -v error -i {tmp_path}/clip.mp4 -c copy -f hls -hls_time 1 -hls_list_size 0 {tmp_path}/list.m3u8"
    subprocess.run(command.split(), check=True, timeout=30)
    files = {f"/{path.name}": path.read_bytes() for path in tmp_path.iterdir() if path.suffix in (".ts", ".m3u8")}
    server.files.update(files)
    return sum(len(body) for name, body in files.items() if name.endswith(".ts"))


def test_segments_count_as_a_video_does(tmp_path: Path) -> None:
    with media_server() as server:
        size_bytes = serve(server, tmp_path)
        assert run(server.url("/list.m3u8"), tmp_path, size_bytes) == 8
        for allowed_bytes in (size_bytes - 188, size_bytes // 2, 1000):
            with pytest.raises(ExtractionFailed) as caught:
                run(server.url("/list.m3u8"), tmp_path, allowed_bytes)
            assert caught.value.kind == "video", caught.value.message
            assert f"more than the {allowed_bytes} bytes" in caught.value.message
            assert "FRAMEMESH_FRAME_EXTRACTOR_VIDEO_BYTES" in caught.value.message
        # What one address is allowed to hold, a playlist cannot hand out again and again.
        lines = server.files["/list.m3u8"].decode().replace("#EXT-X-ENDLIST\n", "")
        entry = "#EXT-X-DISCONTINUITY\n#EXTINF:1,\nlist0.ts\n"
        server.files["/bomb.m3u8"] = (lines + entry * 1000 + "#EXT-X-ENDLIST\n").encode()
        with pytest.raises(ExtractionFailed) as caught:
            run(server.url("/bomb.m3u8"), tmp_path, 2 * size_bytes)
        assert caught.value.kind == "video"
        assert len(server.requests) < 60
