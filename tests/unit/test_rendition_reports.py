"""What a rendition says of what its media threads tell, in whichever order that comes."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import msgspec

from schemas.errors import Unavailable
from schemas.resources import RenditionActual, RenditionSpec
from services.hw_encode.rendition import RenditionRunner

BEFORE = RenditionSpec(stream="cam0", rendition="main", encoder="require-hw")
AFTER = msgspec.structs.replace(BEFORE, encoder="prefer-hw")
RUN = 3


async def test_what_failed_before_a_change_is_no_answer_to_it() -> None:
    told: list[RenditionActual] = []
    reporter = SimpleNamespace(report=lambda _, actual: told.append(actual))
    runner = RenditionRunner("cam0--main", cast("Any", reporter), cast("Any", SimpleNamespace(context=None)))
    runner._actual = RenditionActual(
        stream="cam0", rendition="main", node="edge", revision=2, state="starting", since_ns=1, run=RUN
    )
    runner.pipeline = cast("Any", SimpleNamespace(spec=AFTER))
    error = Unavailable("no hardware encoder works here")
    runner.failed(RUN, BEFORE, error)
    runner.failed(RUN - 1, AFTER, error)
    await asyncio.sleep(0)  # a turn of the loop: reports come from threads
    assert told == []
    runner.failed(RUN, AFTER, error)
    await asyncio.sleep(0)
    assert [(actual.state, actual.error) for actual in told] == [("failed", error.info)]
