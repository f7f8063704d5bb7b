"""Ways in for the two APIs, with their signatures, and for tokens and keys."""

import functools
import json
import time
from collections.abc import Callable
from typing import Final

import jwt
import msgspec

from schemas.tokens import AUDIENCE, TokenClaims
from services.cloud_mix_proxy.edge.body import parse_body as parse_mix_body
from services.cloud_mix_proxy.edge.refusal import Refusal as MixRefusal
from services.cloud_mix_proxy.edge.rules import parse_create, parse_page, parse_task, parse_update
from services.cloud_mix_proxy.edge.signature import Request, sign, verify
from services.frame_extractor.las.body import parse_body as parse_las_body
from services.frame_extractor.las.failures import Refused
from services.frame_extractor.las.submission import parse_poll, parse_submission
from shared import tokens
from shared.nkey import new_seed, parse_credentials, seed_file
from tests.fuzz.inputs import each, text_of


@functools.cache
def _keys() -> tuple[tokens.TokenKey, ...]:
    private, _ = tokens.new_key_pair()
    return tokens.parse_key(b"k" * 48, "a"), tokens.parse_key(private, "b")


def token(data: bytes) -> None:
    """A token at the door. A token that is taken was signed: by the seeds alone, as no fuzzer makes a signature."""
    for key in _keys():
        try:
            claims = tokens.verify(text_of(data), key)
        except tokens.TokenRefused:
            continue
        assert claims.aud is None or AUDIENCE in claims.aud


def signed_claims(data: bytes) -> None:
    """Any JSON, signed with the right key: claims that are none are refused."""
    claims = json.loads(data)
    if isinstance(claims, dict):
        tokens.verify(jwt.encode(claims, b"k" * 48, algorithm="HS256"), _keys()[0])


def token_seeds() -> list[bytes]:
    claims = TokenClaims(streams=("*",), actions=("view",), exp=2**33)
    return [tokens.sign(claims, key).encode() for key in _keys()]


def claims_seeds() -> list[bytes]:
    full = {
        "streams": ["cam-*", "x"],
        "actions": ["view"],
        "exp": 2**33,
        "iat": 1,
        "nbf": 1,
        "aud": [AUDIENCE],
        "sub": "a",
    }
    return [json.dumps(full).encode(), json.dumps({**full, "aud": AUDIENCE}).encode()]


def credentials(data: bytes) -> None:
    """The file that says who a process is."""
    parse_credentials(text_of(data))


def credential_seeds() -> list[bytes]:
    return [seed_file(new_seed(), "cli").encode(), new_seed().encode()]


def token_key(data: bytes) -> None:
    """A key file."""
    tokens.parse_key(data, "key")


def token_keys() -> list[bytes]:
    return [*tokens.new_key_pair(), tokens.new_secret()]


def las_body(data: bytes) -> None:
    """A submission or a poll."""
    body = parse_las_body(data)
    steps: list[Callable[[], object]] = [lambda: parse_submission(dict(body), "robot"), lambda: parse_poll(dict(body))]
    each(steps, (Refused,))


def las_bodies() -> list[bytes]:
    place = {
        "video_url": "https://host.example/a.mp4", "output_path_template": "tos://bucket/f_{index:04d}.{autoext}",
        "fps": 1, "max_frames": 10, "image_format": "png", "resize_hw": [320, None],
    }  # fmt: skip
    named = {"operator_id": "las_video_frame_extract", "operator_version": "v1"}
    return [json.dumps({**named, "data": place}).encode(), json.dumps({**named, "task_id": "x"}).encode()]


def mix_body(data: bytes) -> None:
    """A request of the CloudMix API."""
    body = parse_mix_body(data)
    for trusted in (False, True):
        copies = [msgspec.json.decode(msgspec.json.encode(body)) for _ in range(4)]
        steps: list[Callable[[], object]] = [
            functools.partial(parse_create, copies[0], trusted=trusted),
            functools.partial(parse_update, copies[1], trusted=trusted),
            functools.partial(parse_task, copies[2]),
            functools.partial(parse_page, copies[3]),
        ]
        each(steps, (MixRefusal,))


def mix_bodies() -> list[bytes]:
    rules = {
        "InputSource": [{"ID": "a", "Layer": 1, "Type": "live", "Url": "rtmp://host.example/a/b"}],
        "InputLayout": {
            "Scene": {"Width": 1280, "Height": 720, "Layout": [{"X": 0, "Y": 0, "W": 640, "H": 360, "Layer": 1}]},
            "Logo": [{"Layout": {"X": 0, "Y": 0, "W": 10, "H": 10}, "Url": "https://host.example/a.png"}],
        },
        "Output": {
            "Url": ["rtmp://host.example/a/c"],
            "Video": {"BitRate": 1_000_000, "FrameRate": 25, "GOP": 2, "Codec": "h264"},
            "Audio": {"BitRate": 128_000, "ChannelLayout": "stereo", "SampleRate": 48_000},
            "Callback": {"Url": "https://host.example/told"},
        },
    }
    bodies = [{"Name": "n", "MixedRules": rules}, {"TaskID": "x", "MixedRules": rules}, {"TaskID": "x"}]
    return [json.dumps(one).encode() for one in (*bodies, {"Page": 1, "PageSize": 10})]


def mix_signature(data: bytes) -> None:
    """Head and body of a signed request: lines of the method, the path, the query, headers; then the body."""
    method, path, query, *rest = (*text_of(data).split("\n"), "", "", "")
    headers = [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in rest if line)]
    request = Request(method, path, query, headers, b"body")
    signer = verify(request, lambda key: "secret" if key == "AK" else None, now_s=_SIGNED_S)
    assert signer.access_key == "AK"


_SIGNED_S: Final = 1_790_000_000.0


def signed_requests() -> list[bytes]:
    date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(_SIGNED_S))
    headers = [("Host", "127.0.0.1"), ("X-Date", date), ("Content-Type", "application/json")]
    made = []
    for query in ("Action=ListTask&Version=2020-06-01", "a=%20&b=+&c"):
        request = Request("POST", "/", query, headers, b"body")
        mark = sign(request, "AK", "secret", "cn-north-1", date)
        lines = [f"{name}: {value}" for name, value in (*headers, ("Authorization", mark))]
        made.append("\n".join(["POST", "/", query, *lines]).encode())
    return made
