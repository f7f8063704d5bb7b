"""Records of an older form, brought up to date on a real bus: by two nodes at once, half-way, while others write."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from schemas.errors import Conflict
from schemas.subjects import DESIRED_BUCKET, SCHEMA_BUCKET
from shared.bus import Bus
from shared.migration import Migration, migrate, newest_version, set_versions, versions
from tests.support.nats import NatsServer

pytestmark = pytest.mark.integration
RECORDS = 30


def renamed(record: dict[str, Any]) -> dict[str, Any]:
    if "url" in record:
        record["source"] = record.pop("url")
    return record


def counted(record: dict[str, Any]) -> dict[str, Any]:
    record.setdefault("fps", 30)
    return record


SECOND = Migration(2, DESIRED_BUCKET, "capture.*", renamed)
THIRD = Migration(3, DESIRED_BUCKET, "capture.*", counted)
ALL = (THIRD, SECOND)


@pytest.fixture(scope="module")
def server() -> Any:
    with NatsServer() as running:
        yield running


@pytest.fixture
async def bus(server: NatsServer) -> AsyncIterator[Bus]:
    """With records of the first form, and one of another service."""
    bus = await Bus.connect(server.url, name="test", timeout_seconds=5)
    bucket = await bus.bucket(DESIRED_BUCKET)
    for name in (DESIRED_BUCKET, SCHEMA_BUCKET):
        for key in await (await bus.bucket(name)).entries():
            await (await bus.bucket(name)).purge(key)
    for number in range(RECORDS):
        await bucket.put(f"capture.cam{number}", msgspec.json.encode({"url": f"test://{number}"}))
    await bucket.put("publisher.cam0--x", b'{"url": "file://x"}')
    yield bus
    await bus.drain()


async def values(bus: Bus) -> dict[str, Any]:
    found = await (await bus.bucket(DESIRED_BUCKET)).entries()
    return {key: msgspec.json.decode(entry.value) for key, entry in found.items() if entry.value[:1] == b"{"}


UP_TO_DATE = {f"capture.cam{number}": {"source": f"test://{number}", "fps": 30} for number in range(RECORDS)}
OTHERS = {"publisher.cam0--x": {"url": "file://x"}}


async def test_all_steps_in_their_order_and_only_once(bus: Bus) -> None:
    assert newest_version(ALL) == 3
    assert await migrate(bus, "capture", ALL) == 2 * RECORDS
    assert await values(bus) == UP_TO_DATE | OTHERS
    assert await versions(bus) == {"capture": 3}
    revision = await (await bus.bucket(DESIRED_BUCKET)).last_sequence()
    assert await migrate(bus, "capture", ALL) == 0
    assert await (await bus.bucket(DESIRED_BUCKET)).last_sequence() == revision


async def test_only_the_steps_that_are_missing(bus: Bus) -> None:
    await set_versions(bus, {"capture": 2})
    assert await migrate(bus, "capture", ALL) == RECORDS
    assert (await values(bus))["capture.cam0"] == {"url": "test://0", "fps": 30}


async def test_two_nodes_at_once(bus: Bus) -> None:
    done = await asyncio.gather(*(migrate(bus, "capture", ALL) for _ in range(2)))
    assert await values(bus) == UP_TO_DATE | OTHERS
    assert await versions(bus) == {"capture": 3}
    assert sum(done) == 2 * RECORDS, "no record was changed twice by the same step"


async def test_whoever_dies_half_way_is_carried_on(bus: Bus) -> None:
    left = iter(range(RECORDS // 2))

    def dies(record: dict[str, Any]) -> dict[str, Any]:
        next(left)
        return renamed(record)

    with pytest.raises(RuntimeError):
        await migrate(bus, "capture", (SECOND._replace(change=dies), THIRD))
    assert await versions(bus) == {}, "nobody takes half a step for a whole one"
    await migrate(bus, "capture", ALL)
    assert await values(bus) == UP_TO_DATE | OTHERS


async def test_who_writes_meanwhile_loses_nothing(bus: Bus) -> None:
    bucket = await bus.bucket(DESIRED_BUCKET)
    written = set()

    def slow(record: dict[str, Any]) -> dict[str, Any]:
        if record["url"] == "test://3" and not written:  # a change by somebody else, between reading and writing
            written.add(asyncio.ensure_future(bucket.put("capture.cam3", b'{"url": "test://changed"}')))
        return renamed(record)

    await migrate(bus, "capture", (SECOND._replace(change=slow),))
    await asyncio.gather(*written)
    # Whether the other came before or after the compare-and-set, what it wrote is there.
    assert (await values(bus))["capture.cam3"] in ({"source": "test://changed"}, {"url": "test://changed"})


async def test_a_record_that_nobody_can_read_holds_nobody_up(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    bucket = await bus.bucket(DESIRED_BUCKET)
    await bucket.put("capture.broken", b"\xff no json")
    await bucket.put("capture.list", b"[1]")
    assert await migrate(bus, "capture", ALL) == 2 * RECORDS
    assert await values(bus) == UP_TO_DATE | OTHERS
    assert (await bucket.get("capture.broken")).value == b"\xff no json"
    assert sum("cannot be brought to version" in line for line in caplog.messages) == 4  # two records, two steps


async def test_newer_records_are_refused_and_left(bus: Bus) -> None:
    await set_versions(bus, {"capture": 4})
    before = await values(bus)
    with pytest.raises(Conflict, match=r"capture in this mesh are of version 4, .* knows version 3: install a newer"):
        await migrate(bus, "capture", ALL)
    assert await values(bus) == before
    assert await versions(bus) == {"capture": 4}


async def test_a_version_that_was_written_by_hand_is_the_first(bus: Bus) -> None:
    await (await bus.bucket(SCHEMA_BUCKET)).put("capture", b"three")
    assert await migrate(bus, "capture", ALL) == 2 * RECORDS
    assert await versions(bus) == {"capture": 3}
