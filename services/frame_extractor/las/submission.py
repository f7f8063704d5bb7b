"""A submitted task: checked as the document says, and as the job it becomes. Needs no I/O, so it is fast."""

from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from schemas.errors import InvalidValue
from schemas.extraction import SubmitJob
from schemas.sampling import MAX_EDGE_PIXELS, MAX_WHOLE_NUMBER, Edge, PictureOptions, Sampling
from services.frame_extractor.las.failures import PARAMETER_INVALID, PARAMETER_MISSING, Refused
from services.frame_extractor.las.video_url import check_video_url
from services.frame_extractor.storage.template import parse_template
from shared.explain import explain_decode_error

OPERATOR: Final = "las_video_frame_extract"
VERSION: Final = "v1"
_MAX_URL_CHARACTERS: Final = 4096  # of `SubmitJob`
_TEMPLATE: Final = "data.output_path_template"


class VideoFrameExtractData(Struct, frozen=True, kw_only=True):
    """`data` of a submission. What is not here is ignored, as by the real gateway; null is as if it were not there."""

    video_url: Annotated[str, Meta(max_length=_MAX_URL_CHARACTERS)]
    """http, https or tos://bucket/key."""
    output_path_template: Annotated[str, Meta(max_length=_MAX_URL_CHARACTERS)]
    """tos://bucket/key with `{index}` or `{index:0Nd}` and, if you like, `{autoext}` in it."""
    fps: Annotated[float, Meta(ge=0.1, le=10)] = 1.0
    max_frames: Annotated[int, Meta(ge=1, le=MAX_WHOLE_NUMBER)] | None = None
    image_format: Literal["jpg", "png"] = "jpg"
    resize_short_side: Edge | None = None
    resize_hw: Annotated[tuple[Edge | None, ...], Meta(min_length=2, max_length=2)] | None = None
    """[width, height], in spite of its name; null: as the other one says."""


class SubmitBody(Struct, frozen=True, kw_only=True):
    operator_id: str
    operator_version: str
    data: VideoFrameExtractData


class PollBody(Struct, frozen=True, kw_only=True):
    operator_id: str
    operator_version: str
    task_id: str


BodyT = TypeVar("BodyT", SubmitBody, PollBody)


def parse_submission(body: dict[str, Any], owner: str, key: str = "") -> SubmitJob:
    """The job of `owner`; a second one with the same `key` is the first one.

    Raises:
        Refused: names the field, its value and the fix.
    """
    data = _as(SubmitBody, body).data
    check_video_url(data.video_url)
    _check_template(data)
    if data.resize_short_side is not None and data.resize_hw is not None:
        raise _invalid("data.resize_short_side", data.resize_short_side, "use it or resize_hw, not both")
    width, height = data.resize_hw or (None, None)
    if data.resize_hw is not None and width is height is None:
        raise _invalid("data.resize_hw", [None, None], f"give a width or a height, 1 to {MAX_EDGE_PIXELS}")
    return SubmitJob(
        video=data.video_url,
        to=data.output_path_template,
        sampling=Sampling(mode="middle", fps=data.fps, max_frames=data.max_frames),
        pictures=PictureOptions(
            format=data.image_format, short_side=data.resize_short_side, width=width, height=height
        ),
        key=key,
        owner=owner,
    )


def parse_poll(body: dict[str, Any]) -> str:
    """The id of the task that is asked for.

    Raises:
        Refused: names the field, its value and the fix.
    """
    return _as(PollBody, body).task_id


def _check_template(data: VideoFrameExtractData) -> None:
    text = data.output_path_template
    if not text.startswith("tos://"):
        raise _invalid(_TEMPLATE, text, "begin with tos://, as in tos://bucket/frames/frame_{index}.{autoext}")
    try:
        parse_template(text, data.image_format, _TEMPLATE)
    except InvalidValue as error:
        raise Refused(PARAMETER_INVALID, error.message) from None


def _as(kind: type[BodyT], body: dict[str, Any]) -> BodyT:
    given = _given(body, kind)
    if isinstance(given.get("data"), dict):
        given["data"] = _given(given["data"], VideoFrameExtractData)
    _check_all_there(given, kind)
    for name, known in (("operator_id", OPERATOR), ("operator_version", VERSION)):
        if given[name] != known:
            raise _invalid(name, given[name], f"only {known} is here")
    if kind is SubmitBody and isinstance(given["data"], dict):
        _check_all_there(given["data"], VideoFrameExtractData, "data.")
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise Refused(PARAMETER_INVALID, explain_decode_error(error, kind, msgspec.json.encode(given))) from None


def _given(item: dict[str, Any], kind: type[Struct]) -> dict[str, Any]:
    """The fields that are known and not null."""
    return {name: item[name] for name in kind.__struct_fields__ if item.get(name) is not None}


def _check_all_there(given: dict[str, Any], kind: type[Struct], path: str = "") -> None:
    for field in msgspec.structs.fields(kind):
        if field.required and field.name not in given:
            raise Refused(PARAMETER_MISSING, f"{path}{field.name}")


def _invalid(field: str, value: object, fix: str) -> Refused:
    return Refused(PARAMETER_INVALID, InvalidValue(field, value, fix).message)
