"""mesh.yaml: the two-line form, the long form, and what is refused."""

from pathlib import Path

import msgspec
import pytest

from schemas.errors import BadRequest, MeshError, NotFound
from schemas.mesh_file import MeshPlan, RenditionInFile
from schemas.resources import RenditionSpec
from shared.mesh_file import load_mesh_file


def load(tmp_path: Path, text: str, **environ: str) -> MeshPlan:
    path = tmp_path / "mesh.yaml"
    path.write_text(text)
    return load_mesh_file(path, environ)


def test_two_lines_are_enough(tmp_path: Path) -> None:
    plan = load(tmp_path, "streams:\n  cam0: rtsp://camera.local/stream1\n")
    assert [(s.stream, s.source) for s in plan.streams] == [("cam0", "rtsp://camera.local/stream1")]
    assert not plan.renditions
    assert not plan.outputs


def test_the_long_form(tmp_path: Path) -> None:
    plan = load(
        tmp_path,
        """
streams:
  line1:
    source: v4l2:///dev/video0
    size: 1920x1080
    fps: 30
    renditions: {main: {bitrate: 4M}, small: {}}
    outputs:
      archive: {rendition: main, to: "file://{stream}.mp4"}
      live: rtmp://server/app/key
defaults: {renditions: {bitrate: 1M, key_interval: 1s}}
""",
    )
    assert plan.streams[0].size == "1920x1080"
    renditions = {r.rendition: (r.bitrate, r.key_interval) for r in plan.renditions}
    assert renditions == {"main": ("4M", "1s"), "small": ("1M", "1s")}
    outputs = {o.output: (o.rendition, o.to) for o in plan.outputs}
    assert outputs == {"archive": ("main", "file://{stream}.mp4"), "live": ("main", "rtmp://server/app/key")}


def test_variables_come_from_the_environment_and_cannot_change_the_structure(tmp_path: Path) -> None:
    text = 'streams:\n  cam0: "rtsp://user:${CAM_PASSWORD}@camera/1"\n'
    plan = load(tmp_path, text, CAM_PASSWORD="x\nstreams: {evil: test://}")
    assert plan.streams[0].source == "rtsp://user:x\nstreams: {evil: test://}@camera/1"
    assert len(plan.streams) == 1
    with pytest.raises(NotFound, match=r"\$\{CAM_PASSWORD\} is not set"):
        load(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("streams: [", "line"),
        ("- a\n- b\n", "write a mapping"),
        ("stream:\n  cam0: test://\n", "no such section"),
        ("streams:\n  Cam0: test://\n", "streams.Cam0"),
        ("streams:\n  cam0: {sauce: test://}\n", "streams.cam0"),
        ("streams:\n  cam0: {source: test://, fps: fast}\n", "streams.cam0.fps"),
        (
            "streams:\n  cam0: {source: test://, renditions: {main: {codec: vp6}}}\n",
            "streams.cam0.renditions.main.codec",
        ),
        ("streams:\n  cam0: {source: test://, outputs: {a: {rendition: main}}}\n", "streams.cam0.outputs.a"),
        ("mixes: {wall: {layout: grid}}\n", "mixes.wall.inputs: write a list"),
        ("mixes: {wall: {inputs: ['mesh://a'], layout: round}}\n", "mixes.wall.layout"),
        ("mixes: {wall: {inputs: ['mesh://a', {source: 'mesh://b', gain: 3}]}}\n", "mixes.wall.inputs.1"),
        ("mixes: {wall: {inputs: ['mesh://wall']}}\n", "mixes.wall.inputs.0.source"),
        ("mixes: {wall: {inputs: ['mesh://a'], outputs: {x: {}}}}\n", "mixes.wall.outputs.x"),
        ("mixes: {wall: mesh://a}\n", "mixes.wall: write a mapping"),
        ("streams: {wall: test://}\nmixes: {wall: {inputs: ['mesh://a']}}\n", "mixes.wall: a stream has this name"),
        ("signals: {do1: {mode: tcp}}\n", "signals.do1: Object missing required field `address`"),
        ("streams:\n  cam0: {source: test://, crop: 640x480}\n", "streams.cam0.crop '640x480': write WIDTHxHEIGHT+X+Y"),
        ("streams:\n  cam0: {source: test://, size: 3x3}\n", "streams.cam0.size '3x3'"),
        ("streams:\n  cam0: {source: test://, binning: 9x9}\n", "streams.cam0.binning '9x9'"),
        (
            "streams:\n  cam0: {source: test://, masks: [{x: 0.5, y: 0, width: 0.6, height: 1}]}\n",
            "streams.cam0.masks[0]",
        ),
        ("streams:\n  cam0: {source: test://, stall_after: 5}\n", "streams.cam0.stall_after"),
        ("streams:\n  cam0: {source: test://, frozen_after: soon}\n", "streams.cam0.frozen_after 'soon'"),
        ("streams:\n  cam0: {source: test://, profile: 7}\n", "streams.cam0.profile: write the name"),
        ("streams:\n  cam0: {source: test://, size: 1280 x 720, renditions: 3}\n", "streams.cam0.renditions"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BadRequest) as refused:
        load(tmp_path, text)
    assert words in refused.value.message


def test_a_profile_lies_beside_the_file_and_what_the_stream_says_wins(tmp_path: Path) -> None:
    (tmp_path / "night.json").write_text('{"size": "640x480", "fps": 5, "rotate": 90, "controls": {"gain": 2}}')
    plan = load(tmp_path, "streams:\n  cam0: {source: test://, profile: night.json, fps: 12, masks: []}\n")
    stream = plan.streams[0]
    assert (stream.size, stream.fps, stream.rotate, stream.controls) == ("640x480", 12, 90, {"gain": 2})


@pytest.mark.parametrize(
    ("profile", "kind", "words"),
    [
        (None, NotFound, "streams.cam0.profile: "),
        ('{"crop": "9x9"}', BadRequest, "night.json: crop '9x9': "),
        ('{"controls": {"gain": [2]}}', BadRequest, "night.json: controls.gain […]: "),
        ('{"source": "test://"}', BadRequest, "unknown field `source`; there are size, fps"),
        ("{", BadRequest, "night.json: not JSON"),
        ("[" * 100_000, BadRequest, "night.json: "),
        (" " * (1 << 20) + "{}", BadRequest, "this is no profile"),
    ],
)
def test_a_bad_profile_is_named_by_stream_file_and_key(
    tmp_path: Path, profile: str | None, kind: type[MeshError], words: str
) -> None:
    if profile is not None:
        (tmp_path / "night.json").write_text(profile)
    with pytest.raises(kind) as refused:
        load(tmp_path, "streams:\n  cam0: {source: test://, profile: night.json}\n")
    assert refused.value.message.startswith("streams.cam0.profile: ")
    assert words in refused.value.message


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(MeshError, match="No such file") as missing:
        load_mesh_file(tmp_path / "none.yaml", {})
    assert missing.value.code == 404


@pytest.mark.parametrize(
    "text",
    [
        "stream:\n  cam0: rtsp://user:${CAM_PASSWORD}@camera/1\n",
        "streams: rtsp://user:${CAM_PASSWORD}@camera/1\n",
        "streams:\n  cam0: [rtsp://user:${CAM_PASSWORD}@camera/1]\n",
        "streams:\n  cam0: {source: test://, size: '${CAM_PASSWORD}'}\n",
        "streams:\n  cam0: {source: test://, delivery: '${CAM_PASSWORD}'}\n",
        "streams:\n  cam0: {source: test://, renditions: {main: {bitrate: '${CAM_PASSWORD}'}}}\n",
        "streams:\n  cam0: {source: test://, outputs: {a: [rtsp://u:${CAM_PASSWORD}@h/1]}}\n",
        "streams:\n  cam0: {rtsp://user:hunter2-of-cam0@camera/1}\n",
        "streams:\n  rtsp://user:hunter2-of-cam0@camera/1: test://\n",
        "rtsp://user:hunter2-of-cam0@camera/1: 1\n",
    ],
)
def test_an_error_shows_no_password(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadRequest) as refused:
        load(tmp_path, text, CAM_PASSWORD="hunter2-of-cam0")
    assert "hunter2" not in refused.value.message
    assert "Traceback" not in refused.value.message


@pytest.mark.parametrize(
    "text",
    [
        "streams: &all\n  cam0: *all\n",
        "streams: &all [*all]\n",
        "[" * 5000,
        "streams:\n  "
        + "\n  ".join(f"c{i}: &c{i} [{', '.join([f'*c{i - 1}'] * 99 if i else ['1'])}]" for i in range(9)),
        "streams: {cam0: {source: 2026-99-99}}\n",
    ],
    ids=["mapping", "list", "brackets", "billion", "date"],
)
def test_a_hostile_file_is_one_clear_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadRequest, match=r"nested too deep|not YAML"):
        load(tmp_path, text)


def test_all_of_a_rendition_may_be_said() -> None:
    given = {field.name for field in msgspec.structs.fields(RenditionInFile)}
    kept = {field.name for field in msgspec.structs.fields(RenditionSpec)}
    assert kept - given == {"stream", "rendition", "node", "made_from"}, "these follow from where it stands"
