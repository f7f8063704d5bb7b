"""What nobody reports any more is told as that."""

import pytest

from schemas.resources import OutputActual, StreamActual
from shared.away import as_heard

pytestmark = pytest.mark.unit

LIVE = StreamActual(stream="cam0", node="edge1", revision=3, state="live")


@pytest.mark.parametrize("heard", [None, {"edge1"}, {"edge1", "edge2"}])
def test_who_is_heard_of_is_believed(heard: set[str] | None) -> None:
    assert as_heard("capture", heard, LIVE) is LIVE


def test_who_is_not_heard_of_is_away() -> None:
    shown = as_heard("capture", {"edge2"}, LIVE)
    assert shown is not None
    assert (shown.state, shown.revision) == ("away", 3)
    assert shown.error is not None
    assert shown.error.code == 503
    assert "capture on edge1 is not heard of" in shown.error.message
    assert "it was live" in shown.error.message


def test_what_is_over_stays_as_it_ended() -> None:
    finished = OutputActual(stream="cam0", output="file", rendition="main", node="edge1", revision=1, state="finished")
    off = StreamActual(stream="cam0", node="edge1", revision=1, state="off")
    assert as_heard("publisher", frozenset(), finished) is finished
    assert as_heard("capture", frozenset(), off) is off
    assert as_heard("capture", frozenset(), None) is None
