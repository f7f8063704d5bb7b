"""Ways in for texts: addresses that are shown and opened, words with units, file names, playlists, events of rules."""

import functools
import json
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from schemas.errors import BadRequest, MeshError, NotFound
from schemas.resources import OutputSpec
from schemas.signal_resources import RuleSpec
from schemas.units import (
    parse_binning,
    parse_bitrate,
    parse_bytes,
    parse_crop,
    parse_duration,
    parse_size,
    parse_time,
)
from services.frame_extractor.storage.template import parse_template
from services.io_signal.rules.causes import chain_of
from services.io_signal.rules.matching import read_event
from services.io_signal.rules.planning import plan
from services.publisher.file_names import check_template
from services.publisher.outputs.hls_playlist import Playlist
from shared.netguard import Policy, check
from shared.netguard.guard import check_form, check_literal
from shared.redacted import redacted
from shared.urls import MASK, redact, scrub
from tests.fuzz.inputs import ROOT, SECRET, each, text_of

_NAMES: Final = re.compile(r"a(-init)?-\d{6}\.(m4s|mp4)")


_SCHEMES: Final = frozenset(
    ("http", "https", "rtsp", "rtsps", "rtmp", "rtmps", "srt", "udp", "file", "v4l2", "images", "onvif")
)


_OUTPUT: Final = OutputSpec(stream="cam0", output="o", rendition="main", to="file://x.mp4")


def shown_url(data: bytes) -> None:
    """A URL as it may be shown: never its password, and the same the second time."""
    text = text_of(data)
    for stream_key in (False, True):
        shown, _ = redact(text, stream_key)
        assert redact(shown, stream_key) == (shown, False)
    scrub(text, [f"rtsp://u:{SECRET}@host/x"])
    behind = f"rtsp://user:{SECRET}@" + re.sub(r"[@\s/?#]", "", text)
    assert SECRET not in redact(behind)[0] or SECRET in text


def guarded_url(data: bytes) -> None:
    """A URL at the gate, without a look at the network: addresses only, and no name."""
    text = text_of(data)
    policy = Policy(_SCHEMES, file_roots=(ROOT / "docs",), listens=True)
    steps: list[Callable[[], object]] = [lambda: check_form(text, policy), lambda: check_literal(text, policy)]
    each(steps, (MeshError,))
    if text.lower().startswith(("file://", "v4l2://", "images://")):
        found = check(text, policy)
        assert found.file is None or found.scheme == "v4l2" or found.file.is_relative_to(ROOT / "docs")


def units(data: bytes) -> None:
    """Sizes, times, rates as people write them: a number in its range, or a refusal."""
    text = text_of(data)
    steps: list[Callable[[], object]] = [
        lambda: parse_bitrate(text),
        lambda: parse_duration(text),
        lambda: parse_bytes(text, "x"),
        lambda: parse_time(text, "x", 10**18),
        lambda: parse_size(text),
        lambda: parse_crop(text),
        lambda: parse_binning(text),
    ]
    each(steps, (BadRequest,))


def names_of_files(data: bytes) -> None:
    """Templates of recorded files and of pictures."""
    text = text_of(data)
    steps: list[Callable[[], object]] = [
        lambda: check_template(_OUTPUT, text, (ROOT / "docs",)),
        lambda: parse_template(text, "jpg", "to"),
    ]
    each(steps, (BadRequest, NotFound))


def playlist(data: bytes) -> None:
    """A playlist that an output goes on with."""
    loaded = Playlist("cam0--live", 2.0)
    loaded.load(text_of(data), _NAMES)
    assert all(_NAMES.fullmatch(entry.name) and _NAMES.fullmatch(entry.header) for entry in loaded.entries)


def playlists() -> list[bytes]:
    text = (
        "#EXTM3U\n#EXT-X-VERSION:7\n## framemesh cam0--live\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:3\n"
        '#EXT-X-DISCONTINUITY-SEQUENCE:0\n#EXT-X-MAP:URI="a-init-000001.mp4"\n'
        "#EXT-X-PROGRAM-DATE-TIME:2026-05-04T10:00:00.000Z\n#EXTINF:2.000000,\na-000001.m4s\n#EXT-X-DISCONTINUITY\n"
        '#EXT-X-MAP:URI="a-init-000002.mp4"\n#EXTINF:2.000000,\na-000002.m4s\n#EXT-X-ENDLIST\n'
    )
    return [text.encode()]


def rule_event(data: bytes) -> None:
    """An event that rules hear; whatever it says, what is planned is planned."""
    subject, _, body = data.partition(b"\n")
    event = read_event(text_of(subject), body)
    chain_of(event)
    for rule in _rules():
        plan(rule, event, ("r1",), lambda _stream: "node", 10**18)


@functools.cache
def _rules() -> tuple[Any, ...]:
    texts = [
        {"rule": "r1", "when": "app.*.ng", "do": [{"signal": "do1", "pulse": "200ms"}]},
        {"rule": "r2", "when": "app.*.ng", "do": [{"clip": "cam0", "before": "5s", "after": "2s"}]},
        {
            "rule": "r3",
            "when": "app.*.ng",
            "do": [
                {
                    "command": "capture.cam0.snapshot",
                    "given": {"file": "{event.detail.stream}", "x": "{event.detail.x}"},
                }
            ],
        },
    ]
    return tuple(msgspec.convert(text, RuleSpec) for text in texts)


def rule_events() -> list[bytes]:
    event = {
        "service": "app", "id": "line1", "event": "ng", "at_ns": 1,
        "detail": {"stream": "cam0", "x": [1], "rules": ["a"], "why": "rule a > b"},
    }  # fmt: skip
    return [b"mesh.v1.evt.app.line1.ng\n" + json.dumps(one).encode() for one in (event, event["detail"])]


def kept_request(data: bytes) -> None:
    """A request as the audit keeps it: small, and without what is secret."""
    shown = json.dumps(redacted(data), default=str)
    assert len(shown) < 32_768
    if b"hunter" not in data:
        assert "hunter" not in shown
    marked = json.dumps({"password": SECRET, "url": f"rtsp://u:{SECRET}@h/x", "rest": text_of(data)[:1000]}).encode()
    assert SECRET not in json.dumps(redacted(marked)) or SECRET.encode() in data
    assert MASK in json.dumps(redacted(marked)) or redacted(marked).keys() == {"bytes"}
