"""Why an input has no pictures, as the mix tells it and as a task does."""

import pytest
from msgspec.structs import replace

from schemas.errors import ErrorInfo
from schemas.mix_resources import MixActual, MixInputActual
from schemas.resources import StreamActual
from services.cloud_mix_proxy.mixes.input_troubles import with_trouble
from services.cloud_mix_proxy.tasks.local import _never, _told

pytestmark = pytest.mark.unit

PAGE = ErrorInfo(code=400, message="the server sends text/html")
AWAY = ErrorInfo(code=503, message="no answer")
LOST = MixInputActual(input="a", stream="wall-a", state="lost")
STREAM = StreamActual(stream="wall-a", node="edge1", revision=1, state="reconnecting", source="http://h/x", error=AWAY)
MIX = MixActual(mix="wall", node="edge1", revision=1, state="running", applied_revision=1)


def test_what_capture_says_of_it_is_its_error() -> None:
    assert with_trouble(LOST, STREAM) == replace(LOST, error=AWAY)
    waiting = replace(LOST, state="waiting")
    assert with_trouble(waiting, replace(STREAM, state="failed", error=PAGE)) == replace(waiting, error=PAGE)
    assert with_trouble(waiting, replace(STREAM, state="connecting", error=None)) == waiting
    assert with_trouble(waiting, None) == waiting, "it is about to be made"


def test_a_file_that_was_played_to_its_end_has_ended() -> None:
    assert with_trouble(LOST, replace(STREAM, state="off", error=None)) == replace(LOST, state="ended")
    taken = replace(STREAM, state="off", error=PAGE)  # another writer has its stream
    assert with_trouble(LOST, taken) == replace(LOST, error=PAGE)


def test_a_stream_that_was_stopped_is_not_there() -> None:
    told = with_trouble(LOST, None)
    assert told.error is not None
    assert told.error.code == 404


def test_nothing_is_wrong_with_one_that_lives_or_does_not_move() -> None:
    assert with_trouble(replace(LOST, state="live"), STREAM).error is None
    still = MixInputActual(input="logo", state="live")
    assert with_trouble(still, None) == still


def test_a_task_names_its_sources() -> None:
    names = {"a": "the camera"}
    troubled = [replace(LOST, error=AWAY), replace(LOST, input="b")]
    assert _told(MIX, troubled, names) == ErrorInfo(code=503, message="source the camera: no answer")
    over = replace(MIX, state="ended", error=ErrorInfo(code=503, message="all inputs were lost for 60s"))
    told = _told(over, troubled, names)
    assert told is not None
    assert told.message == "all inputs were lost for 60s; source the camera: no answer"
    assert _told(MIX, [replace(LOST)], names) is None


@pytest.mark.parametrize(("code", "never"), [(400, True), (404, True), (409, True), (429, False), (503, False)])
def test_only_time_mends_what_failed(code: int, never: bool) -> None:
    assert _never(replace(MIX, state="failed", error=ErrorInfo(code=code, message="no"))) is never
    assert not _never(MIX)
