"""Answer for the containers of a compose project: `python -m services.launcher.fleet`."""

import asyncio
import signal
import sys

from schemas.errors import MeshError
from services.launcher.fleet.containers import ContainerFleet
from services.launcher.fleet.service import SERVICE, FleetService
from services.launcher.fleet.settings import FleetSettings
from shared.audit import Audit
from shared.bus import Bus
from shared.logs import setup_logging
from shared.service import EXIT_CANNOT_START
from shared.settings import load_settings


async def run(settings: FleetSettings) -> None:
    """Until SIGTERM. Waits for the bus, and for Docker with every call."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    connecting = asyncio.create_task(
        Bus.connect(settings.nats_url, name=f"{SERVICE}@{settings.node}", access=settings.bus_access())
    )
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait({connecting, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not connecting.done():
        connecting.cancel()
        return
    bus = connecting.result()
    bus.on_closed(stopping.set)  # to be started afresh with what its credentials are then
    fleet = ContainerFleet(settings.node, settings.project)
    audit = Audit(bus, SERVICE, settings)
    served = await FleetService.serve(bus, settings.node, fleet)
    await stopping.wait()
    stopped.cancel()
    await served.close()
    await audit.close()
    await fleet.close()
    await bus.drain()


def main() -> int:
    try:
        settings = load_settings(FleetSettings, SERVICE)
        setup_logging(SERVICE, settings.log)
        asyncio.run(run(settings))
    except MeshError as error:
        print(f"{SERVICE}: error {error.code}: {error.message}", file=sys.stderr, flush=True)  # noqa: T201
        return EXIT_CANNOT_START
    return 0


if __name__ == "__main__":
    sys.exit(main())
