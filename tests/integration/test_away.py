"""What is shown of resources whose service nobody hears of."""

import msgspec

from schemas.resources import OutputActual, OutputSpec, Presence, StreamActual, StreamSpec
from schemas.subjects import ACTUAL_BUCKET, DESIRED_BUCKET, PRESENCE_BUCKET, presence_key, state_key
from shared.bus import Bus
from shared.state import StateMirrors
from shared.status import mesh_status
from tests.support.nats import NatsServer

SPECS = (
    ("capture", "cam0", StreamSpec(stream="cam0", source="test://", node="there")),
    ("capture", "cam1", StreamSpec(stream="cam1", source="test://", node="there")),
    ("publisher", "cam0--a", OutputSpec(stream="cam0", output="a", to="file:///a.ts", node="there")),
    ("publisher", "cam0--b", OutputSpec(stream="cam0", output="b", to="file:///b.ts", node="there")),
)
ACTUALS = (
    ("capture", "cam0", StreamActual(stream="cam0", node="there", revision=1, state="live")),
    ("capture", "cam1", StreamActual(stream="cam1", node="there", revision=2, state="off")),
    (
        "publisher",
        "cam0--a",
        OutputActual(stream="cam0", output="a", rendition="main", node="there", revision=3, state="running", to="a"),
    ),
    (
        "publisher",
        "cam0--b",
        OutputActual(stream="cam0", output="b", rendition="main", node="there", revision=4, state="finished", to="b"),
    ),
)


def presence(service: str, node: str) -> bytes:
    return msgspec.json.encode(
        Presence(service=service, node=node, instance="x", version="1", pid=1, started_ns=1, metrics_url="")
    )


def shown(mirrors: StateMirrors) -> list[str]:
    status = mesh_status(mirrors)
    actuals = [*(entry.actual for entry in status.streams), *(entry.actual for entry in status.outputs)]
    return [actual.state if actual else "" for actual in actuals]


async def test_a_service_that_nobody_hears_of() -> None:
    with NatsServer() as server:
        bus = await Bus.connect(server.url, name="test", timeout_seconds=5)
        try:
            desired, actual = await bus.bucket(DESIRED_BUCKET), await bus.bucket(ACTUAL_BUCKET)
            here = await bus.bucket(PRESENCE_BUCKET)
            for service, name, spec in SPECS:
                await desired.put(state_key(service, name), msgspec.json.encode(spec))
            for service, name, state in ACTUALS:
                await actual.put(state_key(service, name), msgspec.json.encode(state))
            for service in ("capture", "publisher"):
                await here.put(presence_key(service, "there"), presence(service, "there"))
                await here.put(presence_key(service, "elsewhere"), presence(service, "elsewhere"))
            mirrors = await StateMirrors.open(bus)
            try:
                assert shown(mirrors) == ["live", "off", "running", "finished"]
                await here.delete(presence_key("publisher", "there"))
                await mirrors.presence.wait_for(lambda entries: len(entries) == 3, 5)
                assert shown(mirrors) == ["live", "off", "away", "finished"], "what is over stays so"
                await here.delete(presence_key("capture", "there"))
                await mirrors.presence.wait_for(lambda entries: len(entries) == 2, 5)
                assert shown(mirrors) == ["away", "off", "away", "finished"]
                away = mesh_status(mirrors).streams[0].actual
                assert away is not None
                assert away.error is not None
                assert away.error.code == 503
                assert "capture on there is not heard of" in away.error.message
                assert "it was live" in away.error.message
                await here.put(presence_key("capture", "there"), presence("capture", "there"))
                await mirrors.presence.wait_for(lambda entries: len(entries) == 3, 5)
                assert shown(mirrors) == ["live", "off", "away", "finished"]
            finally:
                await mirrors.close()
        finally:
            await bus.drain()
