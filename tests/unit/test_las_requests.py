"""The LAS API's requests: every rule of the document, and what strangers send."""

import json
import random
from typing import Any

import msgspec
import pytest

from services.frame_extractor.las.about import openapi
from services.frame_extractor.las.body import parse_body
from services.frame_extractor.las.failures import DOCUMENTED, Refused
from services.frame_extractor.las.submission import parse_poll, parse_submission

pytestmark = pytest.mark.unit

DATA = {
    "video_url": "tos://my-bucket/videos/a.mp4",
    "output_path_template": "tos://my-bucket/f/frame_{index}.{autoext}",
}
SUBMIT: dict[str, Any] = {"operator_id": "las_video_frame_extract", "operator_version": "v1", "data": DATA}
POLL = {"operator_id": "las_video_frame_extract", "operator_version": "v1", "task_id": "task-20260420120000-abc123"}


def submission(**fields: Any) -> dict[str, Any]:
    return {**SUBMIT, "data": {**DATA, **fields}}


def refusal(body: dict[str, Any]) -> Refused:
    with pytest.raises(Refused) as caught:
        parse_submission(body, "robot")
    return caught.value


def test_the_table_is_the_documents() -> None:
    rows = [
        (400, "Parameter.Invalid", "invalid parameter"),
        (400, "Parameter.Missing", "Missing required parameter"),
        (400, "Url.Invalid", "invalid url"),
        (400, "Video.Invalid", "invalid video file"),
        (400, "Video.DownloadFailed", "Video download failed"),
        (400, "Video.FormatUnsupported", "Video format not supported"),
        (400, "Video.Timeout", "Video processing timeout"),
        (400, "Video.FrameExtractionFailed", "Video frame extraction failed"),
        (400, "Tos.AccessFailed", "Failed to access TOS path with provided credentials"),
        (400, "Task.NotFound", "Task not found"),
        (401, "Authorization.Missing", "Missing Authorization"),
        (401, "ApiKey.InValid", "The api key is invalid"),
        (500, "Internal.ServerError", "Internal server error"),
    ]
    assert [tuple(row) for row in DOCUMENTED] == rows


def test_a_submission_becomes_a_job() -> None:
    job = parse_submission(submission(), "robot")
    assert (job.video, job.to, job.owner) == (DATA["video_url"], DATA["output_path_template"], "robot")
    assert (job.sampling.mode, job.sampling.fps, job.sampling.max_frames) == ("middle", 1.0, None)
    assert (job.pictures.format, job.pictures.short_side, job.pictures.width) == ("jpg", None, None)
    job = parse_submission(submission(fps=10, max_frames=200, image_format="png", resize_hw=[720, None]), "robot", "k")
    assert (job.sampling.fps, job.sampling.max_frames, job.pictures.format, job.key) == (10.0, 200, "png", "k")
    assert (job.pictures.width, job.pictures.height) == (720, None)
    job = parse_submission(submission(fps=0.1, resize_short_side=720, resize_hw=None), "robot")
    assert (job.sampling.fps, job.pictures.short_side) == (0.1, 720)
    assert parse_submission(submission(resize_hw=[None, 9]), "robot").pictures.height == 9


def test_null_is_as_if_it_were_not_there_and_unknown_fields_too() -> None:
    nulls = dict.fromkeys(("fps", "max_frames", "image_format", "resize_short_side", "resize_hw"))
    plain = parse_submission(submission(), "robot")
    assert parse_submission(submission(**nulls), "robot") == plain
    assert parse_submission({**submission(more={"a": [1]}), "user": 1}, "robot") == plain


@pytest.mark.parametrize("name", ["operator_id", "operator_version", "data"])
@pytest.mark.parametrize("how", ["absent", "null"])
def test_what_must_be_there(name: str, how: str) -> None:
    body = dict(SUBMIT)
    if how == "absent":
        del body[name]
    else:
        body[name] = None
    error = refusal(body)
    assert (error.failure.business_code, error.text) == ("Parameter.Missing", f"Missing required parameter: {name}")


@pytest.mark.parametrize("name", ["video_url", "output_path_template"])
def test_what_must_be_in_data(name: str) -> None:
    error = refusal({**SUBMIT, "data": {key: value for key, value in DATA.items() if key != name}})
    assert error.text == f"Missing required parameter: data.{name}"
    assert refusal(submission(**{name: None})).failure.business_code == "Parameter.Missing"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("fps", value) for value in (0.09, 10.01, 0, -1, "1", True, [], {}, 2**63)),
        *(("max_frames", value) for value in (0, -1, 2**53, 10**4000, 1.5, "5", True, [1])),
        *(("image_format", value) for value in ("jpeg", "JPG", "webp", "", 1, [])),
        *(("resize_short_side", value) for value in (0, -2, 1.5, "720", True, 16_385)),
        *(("resize_hw", value) for value in ([], [1], [1, 2, 3], [None, None], [0, 1], ["1", 2], [1.5, 2], "1x2", 5)),
        *(("resize_hw", value) for value in ([True, 2], [16_385, 1], {"0": 1})),
        *(("video_url", value) for value in (1, [], {}, True, "http://h/" + "a" * 5000)),
        *(("output_path_template", value) for value in (1, [], "tos://b-1/{index}" + "a" * 5000)),
    ],
)
def test_what_is_no_value_is_refused_and_not_corrected(name: str, value: object) -> None:
    error = refusal(submission(**{name: value}))
    assert error.failure.business_code == "Parameter.Invalid"
    assert error.text.startswith(f"invalid parameter: data.{name}")
    assert len(error.text) < 400


@pytest.mark.parametrize(
    "body", [{"data": []}, {"data": "x"}, {"operator_id": "las_other"}, {"operator_version": "v2"}]
)
def test_another_operator_and_data_that_is_none(body: dict[str, Any]) -> None:
    assert refusal({**SUBMIT, **body}).failure.business_code == "Parameter.Invalid"


def test_one_size_only() -> None:
    assert "not both" in refusal(submission(resize_short_side=720, resize_hw=[1, 2])).text


@pytest.mark.parametrize(
    "template",
    [
        "",
        "frame_{index}.jpg",
        "s3://my-bucket/{index}.jpg",
        "TOS://my-bucket/{index}.jpg",
        "tos://my-bucket/frame.jpg",
        "tos://my-bucket/{index",
        "tos://my-bucket/{INDEX}.jpg",
        "tos://my-bucket/{index:d}.jpg",
        "tos://my-bucket/{index:6d}.jpg",
        "tos://my-bucket/{index:0999999999d}.jpg",
        "tos://my-bucket/{index:0100d}.jpg",
        "tos://my-bucket/{index.__class__}/{index}.jpg",
        "tos://my-bucket/{index!r}.jpg",
        "tos://my-bucket/{index[0]}.jpg",
        "tos://my-bucket/{0}{index}.jpg",
        "tos://my-bucket/{{index}}.jpg",
        "tos://my-bucket/{stream}/{index}.jpg",
        "tos://my-bucket/{index}.{autoext:s}",
        "tos://my-bucket/../{index}.jpg",
        "tos://my-bucket/a/../../{index}.jpg",
        "tos://my-bucket/./{index}.jpg",
        "tos://my-bucket//{index}.jpg",
        "tos:///{index}.jpg",
        "tos://{index}/a.jpg",
        "tos://{index}",
        "tos://../{index}.jpg",
        "tos://my-bucket/{index}/",
        "tos://my-bucket/\x00{index}.jpg",
        "tos://my-bucket/a\nb{index}.jpg",
        "tos://my-bucket/" + "a" * 1025 + "{index}.jpg",
        "tos://user:secret@my-bucket/{index}.jpg",
        "tos://my-bucket/{index}.gif",
    ],
)
def test_no_template(template: str) -> None:
    error = refusal(submission(output_path_template=template))
    assert error.failure.business_code == "Parameter.Invalid"
    assert "data.output_path_template" in error.text


@pytest.mark.parametrize("index", ["{index}", "{index:06d}", "{index:01d}", "{index:099d}", "{index}-{index:02d}"])
def test_templates(index: str) -> None:
    text = f"tos://my-bucket/視/frame {index}.{{autoext}}"
    assert parse_submission(submission(output_path_template=text), "robot").to == text


@pytest.mark.parametrize(
    "url",
    [
        "",
        "video.mp4",
        "/etc/passwd",
        "file:///etc/passwd",
        "ftp://host/a.mp4",
        "s3://my-bucket/a.mp4",
        "rtsp://host/a",
        "javascript:alert(1)",
        "http://",
        "https:///a.mp4",
        "http:host/a.mp4",
        "http://ho st/a.mp4",
        "http://host:99999/a.mp4",
        "http://host:port/a.mp4",
        "http://host:0/a.mp4",
        "http://[::1/a.mp4",
        "http://host\\@other/a.mp4",
        "http://host/a\r\nHost: b",
        "tos://my-bucket",
        "tos:///a.mp4",
        "tos://my-bucket/../a.mp4",
        "tos://UPPER/a.mp4",
    ],
)
def test_no_url(url: str) -> None:
    error = refusal(submission(video_url=url))
    assert (error.failure.http, error.failure.business_code) == (400, "Url.Invalid")
    assert error.text.startswith("invalid url: data.video_url")


@pytest.mark.parametrize(
    "url",
    [
        "http://host/a.mp4",
        "HTTPS://Host:8443/a.mp4?X-Sign=1#t=3",
        "https://user:secret@host/a.mp4",
        "http://[2001:db8::1]:80/a.mp4",
        "tos://my-bucket/視/a b.mp4",
    ],
)
def test_urls(url: str) -> None:
    assert parse_submission(submission(video_url=url), "robot").video == url


def test_no_password_is_said_again() -> None:
    for url in ("https://user:hunter22@host:port/", "ftp://user:hunter22@host/a", "http://user:hunter22@ho st/"):
        assert "hunter22" not in refusal(submission(video_url=url)).text


def test_polls() -> None:
    assert parse_poll(POLL) == POLL["task_id"]
    with pytest.raises(Refused, match="Missing required parameter: task_id"):
        parse_poll({**POLL, "task_id": None})
    with pytest.raises(Refused, match="invalid parameter: task_id"):
        parse_poll({**POLL, "task_id": 7})


HOSTILE = [
    b"",
    b"null",
    b"[]",
    b'"text"',
    b"7",
    b"{",
    b"{}x",
    b'{"a":NaN}',
    b'{"a":Infinity}',
    b'{"a":1e400}',
    b'{"a":' + b"9" * 5000 + b"}",
    b'{"a":"\\ud800"}',
    b'{"a":"\xff"}',
    b'{"a":"\x00"}',
    b"\xef\xbb\xbf{}",
    b"\xff\xfe{\x00}\x00",
    b'{"a":1,"a":2}',
    b'{"data":{"fps":1,"fps":10}}',
    b'{"a":' * 10_000,
    b"[" * 60_000,
    b'{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    b"{'a':1}",
    b'{"a":01}',
    b'{"a":1,}',
    b"--boundary\r\n",
    b"a=1&b=2",
]


@pytest.mark.parametrize("data", HOSTILE, ids=lambda data: repr(data[:24]))
def test_no_json(data: bytes) -> None:
    with pytest.raises(Refused) as caught:
        parse_body(data)
    assert caught.value.failure.business_code == "Parameter.Invalid"
    assert len(caught.value.text) < 200


def odd_value(random_: random.Random, depth: int = 0) -> Any:
    """Anything that JSON can hold, the odd things more often."""
    leaves: list[Any] = [
        None,
        True,
        0,
        -1,
        1e308,
        2**63 - 1,
        -(2**63),
        0.1,
        "",
        "{index}",
        "tos://",
        "http://h/",
        "a" * 300,
    ]
    if depth > 3 or random_.random() < 0.5:
        return random_.choice(leaves)
    if random_.random() < 0.5:
        return [odd_value(random_, depth + 1) for _ in range(random_.randrange(4))]
    names = [*DATA, "fps", "max_frames", "image_format", "resize_short_side", "resize_hw", "x"]
    return {random_.choice(names): odd_value(random_, depth + 1) for _ in range(random_.randrange(6))}


def test_whatever_comes_is_refused_in_the_tables_words() -> None:
    random_ = random.Random(7)
    codes = {"Parameter.Invalid", "Parameter.Missing", "Url.Invalid"}
    taken = 0
    for _ in range(2000):
        body = json.loads(json.dumps(SUBMIT))
        for _ in range(random_.randrange(1, 4)):
            where = body if random_.random() < 0.3 or not isinstance(body["data"], dict) else body["data"]
            where[random_.choice([*where, "fps", "max_frames", "resize_hw", "image_format"])] = odd_value(random_)
            body.setdefault("data", {})
        try:
            parse_submission(parse_body(json.dumps(body).encode()), "robot")
            taken += 1
        except Refused as error:
            assert error.failure.business_code in codes  # noqa: PT017
            msgspec.json.encode(error.text)
    assert taken < 1000


def test_what_is_told_of_the_api_is_whole() -> None:
    text = json.dumps(openapi())
    document = json.loads(text)
    for reference in {part.split('"')[0] for part in text.split('"$ref": "#/components/schemas/')[1:]}:
        assert reference in document["components"]["schemas"]
    fps = document["components"]["schemas"]["VideoFrameExtractData"]["properties"]["fps"]
    assert (fps["minimum"], fps["maximum"], fps["default"]) == (0.1, 10, 1.0)
    assert set(document["paths"]["/api/v1/poll"]["post"]["responses"]) == {"200", "400", "401", "429", "500"}
    assert [one["name"] for one in document["paths"]["/api/v1/usage"]["get"]["parameters"]] == ["since", "until"]
