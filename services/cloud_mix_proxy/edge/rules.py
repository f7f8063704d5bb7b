"""What an action is asked with: every field, range and correction of the API. Needs no I/O, so it is fast."""

import re
from typing import Annotated, Any, Final, NamedTuple, TypeVar

import msgspec
from msgspec import Meta, Struct

from schemas.cloud_mix import FRAME_RATE_RANGE, VIDEO_BITRATE_RANGE, MixedRules, TaskName
from schemas.errors import InvalidValue
from services.cloud_mix_proxy.edge.addresses import check_addresses
from services.cloud_mix_proxy.edge.refusal import INVALID, MISSING, NO_SUCH_TASK, Refusal
from shared.explain import explain_decode_error

MAX_PAGE_SIZE: Final = 100
_MAX_PAGE: Final = 2**31 - 1
_RULES: Final = "MixedRules"
_TASK_ID: Final = re.compile(r"[0-9a-f]{16}", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class CreateBody(Struct, frozen=True, kw_only=True, rename="pascal"):
    name: TaskName
    mixed_rules: MixedRules


class UpdateBody(Struct, frozen=True, kw_only=True, rename="pascal"):
    task_id: str = msgspec.field(name="TaskID")
    mixed_rules: MixedRules


class TaskBody(Struct, frozen=True, kw_only=True):
    """Of a deletion and a detail."""

    task_id: str = msgspec.field(name="TaskID")


class ListBody(Struct, frozen=True, kw_only=True, rename="pascal"):
    page_size: Annotated[int, Meta(ge=1, le=MAX_PAGE_SIZE)]
    page: Annotated[int, Meta(ge=0, le=_MAX_PAGE)]


class Creation(NamedTuple):
    """A task to make."""

    name: str
    rules: MixedRules
    callback_url: str | None


class Change(NamedTuple):
    """A task to change."""

    task: str
    rules: MixedRules
    """Without a callback: only the creation has one."""


class Page(NamedTuple):
    """A part of the list; the first is 1."""

    number: int
    size: int


BodyT = TypeVar("BodyT", CreateBody, UpdateBody, TaskBody, ListBody)


def parse_create(body: dict[str, Any], *, trusted: bool = False) -> Creation:
    """Raises: Refusal: names the field, its value and the fix."""
    asked = _as(CreateBody, body)
    if _CONTROL.search(asked.name):
        raise _invalid(InvalidValue("Name", asked.name, "leave out control characters"))
    rules = _checked(asked.mixed_rules, trusted)
    return Creation(asked.name, rules, rules.output.callback.url if rules.output.callback else None)


def parse_update(body: dict[str, Any], *, trusted: bool = False) -> Change:
    """Raises: Refusal: names the field, its value and the fix."""
    rules = body.get(_RULES)
    output = rules.get("Output") if isinstance(rules, dict) else None
    if isinstance(output, dict):
        output.pop("Callback", None)
    asked = _as(UpdateBody, body)
    return Change(_task(asked.task_id), _checked(asked.mixed_rules, trusted))


def parse_task(body: dict[str, Any]) -> str:
    """Raises: Refusal: names the field, its value and the fix."""
    return _task(_as(TaskBody, body).task_id)


def parse_page(body: dict[str, Any]) -> Page:
    """Raises: Refusal: names the field, its value and the fix."""
    asked = _as(ListBody, body)
    return Page(max(1, asked.page), asked.page_size)  # some of the clients' examples begin with 0


def _task(task_id: str) -> str:
    if not _TASK_ID.fullmatch(task_id):
        fix = "there is no such task; give the TaskID that the creation was answered with"
        raise Refusal(NO_SUCH_TASK, InvalidValue("TaskID", task_id, fix).message)
    return task_id


def _as(kind: type[BodyT], body: dict[str, Any]) -> BodyT:
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        missing = str(error).startswith("Object missing required field")
        text = explain_decode_error(error, kind, msgspec.json.encode(body))
        raise Refusal(MISSING if missing else INVALID, text) from None


def _checked(rules: MixedRules, trusted: bool) -> MixedRules:
    """The rules with the video's rates corrected."""
    try:
        _check_layers(rules)
        _check_offsets(rules)
        check_addresses(rules, _RULES, trusted=trusted)
    except InvalidValue as error:
        raise _invalid(error) from None
    video = rules.output.video
    corrected = msgspec.structs.replace(
        video,
        bit_rate=_clamped(video.bit_rate, VIDEO_BITRATE_RANGE),
        frame_rate=_clamped(video.frame_rate, FRAME_RATE_RANGE),
    )
    return msgspec.structs.replace(rules, output=msgspec.structs.replace(rules.output, video=corrected))


def _check_layers(rules: MixedRules) -> None:
    """Each source has one place, found by its layer."""
    ids: set[str] = set()
    sources: set[int] = set()
    for number, source in enumerate(rules.input_source):
        field = f"{_RULES}.InputSource[{number}]"
        if source.id in ids:
            raise InvalidValue(f"{field}.ID", source.id, "each source needs an ID of its own")
        if source.layer in sources:
            raise InvalidValue(f"{field}.Layer", source.layer, "each source needs a layer of its own")
        ids.add(source.id)
        sources.add(source.layer)
    places: set[int] = set()
    for number, place in enumerate(rules.input_layout.scene.layout):
        field = f"{_RULES}.InputLayout.Scene.Layout[{number}].Layer"
        if place.layer in places:
            raise InvalidValue(field, place.layer, "a source can have one place only")
        if place.layer not in sources:
            raise InvalidValue(field, place.layer, "there is no source of this layer")
        places.add(place.layer)
    if left := sorted(sources - places):
        field = f"{_RULES}.InputLayout.Scene.Layout"
        raise InvalidValue(field, sorted(places), f"give places for the sources of layer {', '.join(map(str, left))}")


def _check_offsets(rules: MixedRules) -> None:
    scene = rules.input_layout.scene
    layout = f"{_RULES}.InputLayout"
    boxes = [(f"{layout}.Scene.Layout[{number}]", place.x, place.y) for number, place in enumerate(scene.layout)]
    logos = enumerate(rules.input_layout.logo)
    boxes += [(f"{layout}.Logo[{number}].Layout", logo.layout.x, logo.layout.y) for number, logo in logos]
    for field, x, y in boxes:
        if x > scene.width:
            raise InvalidValue(f"{field}.X", x, f"use 0 to {scene.width}, the scene's width")
        if y > scene.height:
            raise InvalidValue(f"{field}.Y", y, f"use 0 to {scene.height}, the scene's height")


def _clamped(value: int, bounds: tuple[int, int]) -> int:
    lowest, highest = bounds
    return min(max(value, lowest), highest)


def _invalid(error: InvalidValue) -> Refusal:
    return Refusal(INVALID, error.message)
