"""The thread of an encoder: out of its queue into the mesh, and from there into the file."""

import threading
import time
from collections import deque
from typing import Final

from schemas.errors import MeshError, Unavailable
from shared.backoff import Backoff
from shared.clients.async_mesh import AsyncMesh
from shared.clients.sail.connection import mesh
from shared.clients.sail.file_writer import FileWriter
from shared.clients.sail.intake import Intake, Result
from shared.clients.sail.log import log
from shared.clients.sail.request import EncoderRequest
from shared.clients.sail.session import Arrived, Pending, Session, SessionEvents
from shared.pixel_formats import Picture
from shared.ring import NotConsumed, RingError

_STALLED_SECONDS: Final = 5.0  # as long as a lossless writer waits for its consumer
_HELD_SECONDS: Final = 0.5  # at the end: the encoder holds pictures back, and is told that there are no more
_GIVE_UP_SECONDS: Final = 30.0  # at the end, without one picture more in the file
_RELEASE_SECONDS: Final = 180.0  # a full queue at a picture every few seconds; the thread is a daemon
# Given to the encoder, and not in the file: encoders for hardware hold a few back, those of B-frames many.
_WINDOW_PICTURES: Final = 16
_WINDOW_PICTURES_WITH_B_FRAMES: Final = 64


class EncoderWork:
    """From `open` to `release`. `put` and `release` may be called from any thread."""

    def __init__(self, request: EncoderRequest, policy: int) -> None:
        self._request = request
        self._file = FileWriter(request.file, request.muxer) if request.file else None
        self._window = _WINDOW_PICTURES_WITH_B_FRAMES if request.b_frames else _WINDOW_PICTURES
        self._changed = threading.Condition()
        self._intake = Intake(self._changed, request.queue, policy)
        self._again: deque[Pending] = deque()
        """Pictures of a session that broke; before those of the queue."""
        self._arrived: deque[Arrived] = deque()
        self._session: Session | None = None
        self._ended: list[Session] = []
        self._broken = ""
        self._number = 0
        self._progress_seconds = self._arrived_seconds = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="sail-encoder", daemon=True)
        self._loop_thread = 0

    def open(self) -> None:
        """Raises:
        MeshError: there is no mesh, or a service refused.
        """
        self._session = self._opened()
        self._thread.start()

    def _opened(self) -> Session:
        async def opening(inner: AsyncMesh) -> Session:
            self._loop_thread = threading.get_ident()
            events = SessionEvents(self._take, self._tell_not_encoded, self._tell_not_pushed, self._tell_broken)
            session = Session(inner, self._request, events)
            await session.open()
            return session

        return mesh().run(opening)

    @property
    def works(self) -> bool:
        """It takes pictures, and what it took comes into the file."""
        return self._intake.works

    # -- the program's side ----------------------------------------------------------------------------------

    def put(self, picture: Picture) -> Result:
        """Queue a picture; only `TAKEN` means that it was."""
        return self._intake.put(picture)

    def release(self) -> None:
        """Bring everything that was taken into the file or to its destination; may be called again.

        Waits for it, but where that would wait for the caller: in a handler of a signal that came amid `put`, and in
        the garbage collector when it comes by in a thread that the end needs. `ended` tells.
        """
        waits = not self._within() and threading.get_ident() not in (self._thread.ident, self._loop_thread)
        with self._changed:
            if not self._intake.closed:
                self._intake.closed, self._arrived_seconds = True, time.monotonic()
            self._changed.notify_all()
        if waits and self._thread.is_alive():
            self._thread.join(_RELEASE_SECONDS)

    @property
    def ended(self) -> bool:
        """Everything was brought, and the stream is out of the mesh."""
        return not self._thread.is_alive()

    def _within(self) -> bool:
        """This thread holds the lock."""
        try:
            self._changed.notify(0)
        except RuntimeError:
            return False
        return True

    # -- in the mesh's event loop ----------------------------------------------------------------------------

    def _take(self, arrived: Arrived) -> None:
        with self._changed:
            self._arrived.append(arrived)  # bounded by the window
            self._progress_seconds = self._arrived_seconds = time.monotonic()
            self._changed.notify_all()

    def _tell_not_encoded(self, why: str) -> None:
        log.error("a picture was not encoded: %s", why)
        with self._changed:
            self._intake.not_encoded += 1
            self._progress_seconds = time.monotonic()
            self._changed.notify_all()

    def _tell_not_pushed(self, why: str) -> None:
        log.error("the destination takes no pictures: %s", why)
        with self._changed:
            self._intake.not_pushed = 1

    def _tell_broken(self, why: str) -> None:
        with self._changed:
            self._broken = why
            self._changed.notify_all()

    # -- in the thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._step():
                pass
            if self._file is not None:
                self._file.close()
        except MeshError as error:
            self._give_up(error.message)
        except Exception as error:  # a defect must be seen in the log and by the program, not as a file that ends
            log.exception("the encoder has failed")
            self._give_up(str(error))
        finally:
            self._take_away()

    def _step(self) -> bool:
        """Do what there is to do, or wait for it; False when everything is done."""
        with self._changed:
            closing = self._intake.closed
            self._changed.wait_for(
                lambda: self._may_go_on() or self._intake.closed != closing,  # the shorter wait begins with `release`
                _HELD_SECONDS if closing else _STALLED_SECONDS,
            )
            arrived = list(self._arrived)
        for one in arrived:
            self._write(one)
        if self._broken:
            self._check_time()
            self._renew()
            return True
        with self._changed:
            if (picture := self._next()) is None and not self._waits_for_encoder():
                return not (self._intake.closed and not self._arrived)
        if picture is not None:
            self._give(picture)
        else:
            self._look_after_encoder()
        return True

    def _may_go_on(self) -> bool:
        return bool(
            self._arrived or self._broken or self._has_next() or (self._intake.closed and not self._outstanding)
        )

    @property
    def _outstanding(self) -> int:
        return len(self._session.outstanding) if self._session else 0

    def _has_next(self) -> bool:
        return bool(self._again or self._intake.pictures) and self._outstanding + len(self._arrived) < self._window

    def _waits_for_encoder(self) -> bool:
        """The encoder holds what is needed to go on: the window is full, or nothing else is left at the end."""
        return bool(self._outstanding) and (self._intake.closed or bool(self._intake.pictures or self._again))

    def _next(self) -> Pending | None:
        if not self._has_next():
            return None
        if self._again:
            return self._again.popleft()
        picture = Pending(self._intake.pictures.popleft(), self._number)
        self._number += 1
        self._changed.notify_all()  # there is room
        return picture

    def _give(self, picture: Pending) -> None:
        session = self._session
        assert session is not None  # open() or _renew() has made it
        if not self._outstanding:
            self._progress_seconds = time.monotonic()  # a program's pause is not the encoder's
        try:
            mesh().run(lambda _: session.write(picture))
        except (MeshError, RingError) as error:
            with self._changed:
                self._again.appendleft(picture)
            if isinstance(error, NotConsumed):  # the mesh mends itself, and is given what it has not consumed again
                log.warning("%s", error)
                self._check_time()
            else:
                self._broken = str(error)

    def _write(self, arrived: Arrived) -> None:
        assert self._file is not None  # only then packets are taken
        self._file.write(arrived.header, arrived.payload, round(arrived.picture.number * 1e9 / self._request.framerate))
        with self._changed:
            self._arrived.popleft()

    def _look_after_encoder(self) -> None:
        """Nothing comes from the encoder that pictures were given to."""
        session = self._session
        assert session is not None  # open() or _renew() has made it
        silent_seconds = time.monotonic() - self._progress_seconds

        async def look(_: AsyncMesh) -> None:
            session.look()

        if silent_seconds > _STALLED_SECONDS and session.consumed:
            self._broken = f"{session.consumed} packets have not come for {silent_seconds:.0f} s"
        elif self._intake.closed and silent_seconds > _HELD_SECONDS and not self._again and not self._intake.pictures:
            mesh().run(lambda _: session.flush())
        else:
            mesh().run(look)
        self._check_time()

    def _check_time(self) -> None:
        if self._intake.closed and time.monotonic() - self._arrived_seconds > _GIVE_UP_SECONDS:
            raise Unavailable(f"the mesh has encoded nothing for {_GIVE_UP_SECONDS:g} s")

    def _renew(self) -> None:
        """Another stream, encoder and all, for the pictures that the one before has not brought back."""
        before, why, self._broken = self._session, self._broken, ""
        if before is not None:
            log.warning("%s: %s; its pictures are encoded again", before.name, why)
            left = mesh().run(lambda _: _abandon(before))
            self._session = None
            self._ended = [one for one in self._ended if not one.closed] + [before]
            with self._changed:
                self._again.extendleft(reversed(left))
        backoff = Backoff()
        while self._session is None:
            try:
                self._session = self._opened()
            except MeshError as error:
                log.warning("the mesh: %s; trying again", error.message)
                self._check_time()
                with self._changed:
                    self._changed.wait_for(lambda: self._intake.closed, backoff.next_seconds())
        self._progress_seconds = time.monotonic()

    def _give_up(self, why: str) -> None:
        with self._changed:
            count = len(self._intake.pictures) + len(self._again) + len(self._arrived) + self._outstanding
            self._intake.lost = why
            self._changed.notify_all()
        log.error("%s%s", why, f"; {count} pictures that were taken are lost" if count else "")
        if self._file is not None:
            self._file.abandon()

    def _take_away(self) -> None:
        async def close(_: AsyncMesh) -> None:
            for session in (*self._ended, self._session):
                if session is not None:
                    await session.close()

        try:
            mesh().run(close)
        except MeshError as error:
            log.warning("streams stay in the mesh: %s", error.message)


async def _abandon(session: Session) -> list[Pending]:
    return session.abandon()
