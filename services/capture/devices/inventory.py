"""Which cameras there are: looked for when asked, remembered by their place, told of when they come and go."""

import asyncio
import logging
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import msgspec

from schemas.capture_commands import DeviceList, ListDevices
from schemas.devices import Device
from schemas.errors import MeshError
from schemas.resources import StreamActual, StreamSpec
from services.capture.devices import Finder
from services.capture.devices.known import Key, KnownDevices, key_of
from services.capture.settings import CaptureSettings
from shared.desired import Desired
from shared.service import Context
from shared.tasks import end_tasks, start_task

log = logging.getLogger(__name__)

FINDER_SECONDS = 5.0  # a driver or a network that has said nothing by then hangs; a caller waits 10 s


class Inventory:
    """The cameras of this node. Belongs to the event loop; finders run in threads, one of each kind at a time."""

    def __init__(
        self,
        context: Context[CaptureSettings],
        streams: Desired[StreamSpec, StreamActual],
        finders: Mapping[str, Finder],
        finder_seconds: float = FINDER_SECONDS,
    ) -> None:
        self._context = context
        self._streams = streams
        self._finders = finders
        self._finder_seconds = finder_seconds
        self._known = KnownDevices(context.settings.data_dir / "capture" / f"devices-{context.node}.json")
        self._present: dict[Key, Device] = {}
        self._at_ns = 0
        self._asked_network = False
        self._look: asyncio.Task[None] | None = None
        self._look_asks_network = False
        self._hanging: dict[str, asyncio.Future[list[Device]]] = {}
        self._pool = ThreadPoolExecutor(max(1, len(finders)), "find-devices")

    async def devices(self, request: ListDevices) -> DeviceList:
        """Every camera that is or was here, by its number."""
        if request.refresh or not self._at_ns or (request.network and not self._asked_network):
            await self.look(network=request.network)
        owned = self._streams.owned(self._context.node)
        users = [(stream, spec.source) for stream, (spec, _) in owned.items()]
        listed = []
        for known in self._known.all():
            device = self._present.get(key_of(known.device))
            if device is None:
                device = msgspec.structs.replace(known.device, present=False)
            user = next((stream for stream, source in users if _is_source(device, source)), None)
            listed.append(msgspec.structs.replace(device, stream=user))
        return DeviceList(node=self._context.node, devices=tuple(listed), at_ns=self._at_ns)

    async def look(self, *, network: bool) -> None:
        """Look again; who asks while that is done shares the look."""
        while (under_way := self._look) and network and not self._look_asks_network:
            await asyncio.shield(under_way)
        if under_way is None:
            self._look_asks_network = network
            # Of the inventory, not of the caller who was first: the others wait for it too.
            under_way = self._look = start_task(self._look_now(network), "look-for-devices")
        await asyncio.shield(under_way)

    async def close(self) -> None:
        """End a look; a finder that hangs is left to the end of the process."""
        if self._look:
            await end_tasks(self._look)
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _look_now(self, network: bool) -> None:
        try:
            found = await asyncio.gather(*(self._find(kind, network) for kind in self._finders))
            for kind, devices in zip(self._finders, found, strict=True):
                if devices is not None:
                    self._take(kind, devices, network=network)
            self._at_ns = time.time_ns()
            self._asked_network = self._asked_network or network
            try:
                await asyncio.to_thread(self._known.save)
            except OSError as error:
                log.error("the cameras' numbers are not kept: %s", error)
        finally:
            self._look = None

    async def _find(self, kind: str, network: bool) -> list[Device] | None:
        """The devices of one kind; None when that cannot be told."""
        if kind in self._hanging:
            log.warning("devices %s: an earlier look still hangs in its driver", kind)
            return None
        loop = asyncio.get_running_loop()
        looking = loop.run_in_executor(self._pool, self._finders[kind], network, self._context.settings)
        try:
            async with asyncio.timeout(self._finder_seconds):
                return await asyncio.shield(looking)
        except TimeoutError:
            log.warning("devices %s: no answer within %g s", kind, self._finder_seconds)
            self._hanging[kind] = looking
            looking.add_done_callback(lambda _: self._ended(kind))
        except MeshError as error:  # not to be had here: a library is missing, usually
            log.info("devices %s: %s", kind, error.message)
        except Exception:  # a bug in one finder, or in a driver: the other kinds are still found
            log.exception("devices %s", kind)
        return None

    def _ended(self, kind: str) -> None:
        looking = self._hanging.pop(kind)
        if not looking.cancelled() and (error := looking.exception()):
            log.info("devices %s: the look that hung has ended: %s", kind, error)

    def _take(self, kind: str, devices: list[Device], *, network: bool) -> None:
        """What was found of one kind; without asking the network, its cameras stay what they were."""
        first = not self._at_ns
        seen_before = {key_of(known.device) for known in self._known.all()}
        was_local = {key_of(known.device) for known in self._known.all() if known.local}
        now: dict[Key, Device] = {}
        for device in devices:
            noted = self._known.note(device, local=not network)
            if noted is None:
                log.warning("devices %s: %s is left out, too many are known", kind, device.location)
                continue
            now[key_of(noted)] = noted
        before = {key: device for key, device in self._present.items() if key[0] == kind}
        if not network:
            now = {**{key: device for key, device in before.items() if key not in was_local}, **now}
        for key, device in now.items():
            # Before the first look nothing was present; only what was never here has come since.
            if key not in before and not (first and key in seen_before):
                self._tell("device-found", device)
        for key, device in before.items():
            if key not in now:
                self._tell("device-lost", device)
                del self._present[key]
        self._present.update(now)

    def _tell(self, event: str, device: Device) -> None:
        names = ("kind", "location", "location_id", "source", "model", "serial")
        self._context.event(self._context.node, event, detail={name: getattr(device, name) for name in names})


def _is_source(device: Device, source: str) -> bool:
    """Whether a stream's source is this camera, under any of its names."""
    if source == device.source:
        return True
    if not source.lower().startswith(f"{device.kind}://"):
        return False
    if device.kind == "onvif":
        try:
            parts, own = urlsplit(source), urlsplit(device.source)
            return (parts.hostname, parts.port or 80) == (own.hostname, own.port or 80)
        except ValueError:  # it was never held against this node's cameras; its own stream says what is wrong
            return False
    name = source.partition("://")[2].partition("?")[0]
    return name in {text for text in (device.address, device.location, device.serial) if text}
