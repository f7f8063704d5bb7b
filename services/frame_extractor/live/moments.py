"""One picture of a live stream at a moment: out of what comes, the frame ring, the packet rings, or a recording."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import av

from schemas.errors import BadRequest, InternalError, InvalidValue, MeshError, NotFound, TooMany, Unavailable
from schemas.ids import Id
from schemas.moments import TakenPicture, TakePicture
from schemas.resources import StreamActual, StreamSpec
from schemas.sampling import check_options
from schemas.subjects import command
from schemas.units import NS_PER_SECOND, parse_duration, parse_time
from services.frame_extractor.live.coming import coming
from services.frame_extractor.live.found import Found
from services.frame_extractor.live.packet_pictures import nearest_in_packets
from services.frame_extractor.live.recorded_pictures import fetch_recorded, nearest_recorded
from services.frame_extractor.live.ring_pictures import nearest_in_ring, of_lease
from services.frame_extractor.pictures import Picture, make_picture
from shared.bus import Bus, Endpoint
from shared.demand import Wants
from shared.desired import Desired
from shared.ring import RingReader
from shared.state import StateMirrors

_SERVICE: Final = "frame-extractor"
_THREADS: Final = 2  # files are made beside the live pictures, which come first
_WAITING: Final = 32  # requests under way; each may hold 8 MiB of the bus
_MAX_LEASES: Final = _WAITING
# What was captured so lately may still be on its way to the rings: an encoder, a busy machine.
_LATE_SECONDS: Final = 0.5
_LEAST_WAIT_SECONDS: Final = 0.2  # with wait_s 0: the time to take what is about to come
_REPLY_MARGIN_SECONDS: Final = 10.0  # beyond wait_s: a recording is fetched and decoded
_HEADER_BYTES: Final = 1024  # of a reply beside the file

Streams = Desired[StreamSpec, StreamActual]


class Moments:
    """Any instance answers; what lies in the memory of another node its own instance is asked for."""

    def __init__(self, bus: Bus, node: str, shm_dir: Path, mirrors: StateMirrors, wants: Wants) -> None:
        self._bus, self._node, self._folder = bus, node, shm_dir
        self._mirrors, self._wants = mirrors, wants
        self._streams = Streams("capture", StreamSpec, StreamActual, mirrors)
        self._reader = RingReader(shm_dir, max_leases=_MAX_LEASES)
        self._pool = ThreadPoolExecutor(_THREADS, "moment")
        self._under_way = 0
        self.taken: dict[str, int] = {}
        """By origin."""
        self.refused = 0

    def endpoints(self) -> list[Endpoint]:
        local = command(_SERVICE, "local-picture", self._node)
        return [
            Endpoint(command(_SERVICE, "picture"), TakePicture, TakenPicture, self.take),
            Endpoint(local, TakePicture, TakenPicture, self.take_here),
        ]

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._reader.close()

    async def take(self, request: TakePicture) -> TakenPicture:
        """The picture nearest to the moment, wherever the stream is.

        Raises:
            InvalidValue: the moment is none, or too far ahead; or a size.
            NotFound: there is no such stream, or nothing is kept of that time; names the oldest there is.
            Unavailable: no picture came in time, or who has it does not answer.
            TooMany: as many are being made as may be.
            BadRequest: the file is too large for the bus.
        """
        found = await self._streams.find(request.stream)
        node = found[0].node if found else None
        elsewhere = {presence.node for presence in self._mirrors.present(_SERVICE)} - {self._node}
        if node not in elsewhere:
            return await self.take_here(request)
        subject = command(_SERVICE, "local-picture", node)
        return await self._bus.request(subject, request, TakenPicture, request.wait_s + _REPLY_MARGIN_SECONDS)

    async def take_here(self, request: TakePicture) -> TakenPicture:
        """As `take`, of what this node has and what is recorded anywhere."""
        at_ns = parse_time(request.at, "at", time.time_ns()) if request.at is not None else None
        taken = await self.picture(request, at_ns)
        self._check_reply(taken)
        return taken

    async def picture(self, request: TakePicture, at_ns: int | None) -> TakenPicture:
        """As `take_here`, however large it is. `at_ns` stands for `at`."""
        now_ns = time.time_ns()
        check_options(request.pictures, "pictures.")
        if at_ns is not None and at_ns > now_ns + request.wait_s * NS_PER_SECOND:
            raise InvalidValue("at", request.at, f"at most wait_s, {request.wait_s:g} s, ahead; raise wait_s")
        within_ns = None if request.within is None else round(parse_duration(request.within, "within") * NS_PER_SECOND)
        if self._under_way >= _WAITING:
            self.refused += 1
            raise TooMany(f"{_WAITING} pictures are being made or waited for; try again, with fewer at a time")
        self._under_way += 1
        try:
            found = await (self._next(request) if at_ns is None else self._nearest(request, at_ns))
            try:
                if within_ns is not None and at_ns is not None and abs(found.off_ns(at_ns)) > within_ns:
                    raise NotFound(
                        f"no picture of {request.stream} within {request.within} of {_text(at_ns)}; the nearest one "
                        f"was captured at {_text(found.captured_ns)}"
                    )
                return await self._made(request, found, at_ns)
            finally:
                found.release()
        finally:
            self._under_way -= 1

    # -- finding -------------------------------------------------------------------------------------------------

    async def _next(self, request: TakePicture) -> Found:
        await self._check_live(request.stream)
        async with coming(self._bus, self._wants, self._reader, self._node, request.stream, None) as pictures:
            lease = await pictures.take(max(request.wait_s, _LEAST_WAIT_SECONDS))
        if lease is None:
            raise self._none_came(request)
        return of_lease(lease, "live")

    async def _nearest(self, request: TakePicture, at_ns: int) -> Found:
        """The nearest picture, held."""
        best: Found | None = None
        oldest_ns = 0
        is_recent = at_ns > time.time_ns() - _LATE_SECONDS * NS_PER_SECOND  # or to come: what comes next is as good

        def better(found: Found | None) -> bool:
            """Keep the nearer of two; whether no nearer one can be."""
            nonlocal best
            if found is not None and (best is None or abs(found.off_ns(at_ns)) < abs(best.off_ns(at_ns))):
                best, found = found, best
            if found is not None:
                found.release()
            return best is not None and best.is_near(at_ns)

        def older(captured_ns: int) -> None:
            nonlocal oldest_ns
            oldest_ns = min(oldest_ns or captured_ns, captured_ns or oldest_ns)

        try:
            for search in (self._in_ring, self._to_come, self._in_packets, self._recorded):
                found, first_ns = await search(request, at_ns)
                older(first_ns)
                if better(found) and best is not None:
                    return best
            if best is None or (at_ns < oldest_ns and not is_recent):
                raise await self._nothing(request, at_ns, oldest_ns)
            if is_recent and best.off_ns(at_ns) < 0:
                raise self._none_came(request)
        except BaseException:
            if best is not None:
                best.release()
            raise
        return best

    async def _in_ring(self, request: TakePicture, at_ns: int) -> tuple[Found | None, int]:
        # A few system calls, so not in a thread: until it came back the picture would be overwritten.
        return nearest_in_ring(self._folder, self._reader, request.stream, at_ns)

    async def _to_come(self, request: TakePicture, at_ns: int) -> tuple[Found | None, int]:
        ahead_s = (at_ns - time.time_ns()) / NS_PER_SECOND
        if ahead_s < -_LATE_SECONDS:
            return None, 0
        if ahead_s > 0:
            await self._check_live(request.stream)
        elif await self._streams.find(request.stream) is None:
            return None, 0
        async with coming(self._bus, self._wants, self._reader, self._node, request.stream, at_ns) as pictures:
            lease = await pictures.take(max(request.wait_s, _LATE_SECONDS))
        return (of_lease(lease, "ring"), lease.ref.captured_ns) if lease else (None, 0)

    async def _in_packets(self, request: TakePicture, at_ns: int) -> tuple[Found | None, int]:
        return await asyncio.to_thread(nearest_in_packets, self._folder, request.stream, at_ns)

    async def _recorded(self, request: TakePicture, at_ns: int) -> tuple[Found | None, int]:
        nodes = sorted({presence.node for presence in self._mirrors.present("publisher")})
        at = datetime.fromtimestamp(at_ns / NS_PER_SECOND, UTC).isoformat()
        moment = await nearest_recorded(self._bus, nodes, request.stream, at, at_ns)
        if moment is None:
            return None, 0
        return await fetch_recorded(self._bus, request.stream, moment), moment.oldest_ns

    # -- making --------------------------------------------------------------------------------------------------

    async def _made(self, request: TakePicture, found: Found, at_ns: int | None) -> TakenPicture:
        made = await self._in_pool(lambda: make_picture(found.frame(), request.pictures), request)
        self.taken[found.origin] = self.taken.get(found.origin, 0) + 1
        return TakenPicture(
            stream=request.stream,
            node=self._node,
            origin=found.origin,
            captured_ns=found.captured_ns,
            off_ns=found.off_ns(at_ns) if at_ns is not None else 0,
            epoch=found.epoch,
            sequence=found.sequence,
            rendition=found.rendition,
            file=found.file,
            format=request.pictures.format,
            width=made.width,
            height=made.height,
            data=made.data,
        )

    def _check_reply(self, taken: TakenPicture) -> None:
        needed, limit = -(-len(taken.data) // 3) * 4 + _HEADER_BYTES, self._bus.max_payload_bytes  # base64
        if needed > limit:
            raise BadRequest(
                f"a {taken.format} of {taken.width}x{taken.height} takes {needed} bytes on the bus, which carries "
                f"{limit}; ask for a smaller width, or for jpg"
            )

    async def _in_pool(self, make: Callable[[], Picture], request: TakePicture) -> Picture:
        """The thread reads the picture to its end, whoever asked for it, so this is not cut short."""
        making: Awaitable[Picture] = asyncio.get_running_loop().run_in_executor(self._pool, make)
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            await asyncio.wait({asyncio.ensure_future(making)})
            raise
        except (av.FFmpegError, ValueError) as error:
            if isinstance(error, MeshError):
                raise
            raise InternalError(f"no {request.pictures.format} of this picture: {error}") from error

    # -- errors --------------------------------------------------------------------------------------------------

    async def _check_live(self, stream: Id) -> None:
        """Raises: NotFound, Unavailable: no picture can come here."""
        found = await self._streams.find(stream)
        if found is None:
            raise NotFound(f"stream {stream!r} does not exist; `framemesh status` lists those that do")
        node = found[0].node
        if node is not None and node != self._node:
            raise Unavailable(f"{stream} is on node {node}, where no frame-extractor runs; start one there")

    async def _nothing(self, request: TakePicture, at_ns: int, oldest_ns: int) -> MeshError:
        exists = await self._streams.find(request.stream) is not None
        if not exists and not oldest_ns:
            return NotFound(f"stream {request.stream!r} does not exist, and nothing of it is recorded")
        if exists and at_ns > time.time_ns() - (request.wait_s + _LATE_SECONDS) * NS_PER_SECOND:  # it was waited for
            return self._none_came(request)
        there = (
            f"the oldest is of {_text(oldest_ns)}"
            if oldest_ns
            else "there is nothing: record it, or set history of the stream"
        )
        return NotFound(f"of {request.stream} at {_text(at_ns)} no picture is kept; {there}")

    def _none_came(self, request: TakePicture) -> Unavailable:
        actual = self._streams.actual(request.stream)
        state = actual.state if actual else "not taken up by capture yet"
        why = f" ({actual.error.message})" if actual and actual.error else ""
        return Unavailable(f"no picture of {request.stream} within {request.wait_s:g} s: it is {state}{why}")


def _text(at_ns: int) -> str:
    seconds, rest_ns = divmod(at_ns, NS_PER_SECOND)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest_ns // 1_000_000:03}Z"
