"""Moves a camera: pan, tilt, zoom, presets. A move ends by itself, also when we do not."""

import logging
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from schemas.capture_commands import PtzRequest, PtzStatus
from schemas.errors import Conflict, InvalidValue, MeshError, Unavailable
from schemas.units import parse_duration
from services.capture.onvif import soap, xml
from services.capture.onvif.device import Profile
from services.capture.onvif.soap import plain
from services.capture.onvif.transport import Transport

log = logging.getLogger(__name__)

MAX_MOVE_SECONDS = 30.0  # longer is a camera that somebody forgot
_COMMAND_SECONDS = 4.0  # for all calls of one command; its caller waits for 5 s
_STOP_SECONDS = 2.0
_STOP_ATTEMPTS = 3  # a stop that is lost on a bad network leaves the camera turning
_LAST_STOP_SECONDS = 1.0  # the stream ends, and others wait for that
_MAX_PRESETS = 256
_MAX_NAME_CHARACTERS = 64  # ONVIF's own limit, ver10/schema `Name`


class Ptz:
    """The mechanics of one camera. Any thread may command; one command is under way at a time."""

    def __init__(self, transport: Transport, url: str, profile: Profile) -> None:
        """`url`: where the camera has its PTZ service."""
        self._transport = transport
        self._url = url
        self._profile = profile
        self._busy = threading.Lock()
        self._ending: threading.Timer | None = None
        self._deadline = 0.0
        self._closed = False
        self._ending_now = False
        """The camera is being told to stop: that is not interrupted."""

    def do(self, request: PtzRequest) -> PtzStatus:
        """Carry a checked command out; a `move` goes on when this returns. Blocks, for some seconds at most.

        Raises:
            InvalidValue: no such preset; names those that there are.
            Conflict: the camera cannot do this.
            Unavailable: it does not answer, or another command is under way.
        """
        presets: dict[str, str] = {}
        with self._one_at_a_time():
            if self._closed:  # nobody would end a move that begins now
                raise Unavailable(f"{self._transport.what}: is being opened again; try again")
            self._deadline = time.monotonic() + _COMMAND_SECONDS
            if request.action in ("preset", "status"):
                presets = self._presets()
            if request.action != "status":
                try:
                    self._command(request, presets)
                except soap.NotAuthorized:
                    raise
                except soap.Fault as error:
                    raise Conflict(f"{error.message}; the camera cannot {request.action} like this") from None
            try:
                return self._status(tuple(presets))
            except MeshError:
                if request.action == "status":
                    raise
                return PtzStatus(presets=tuple(presets))  # done is done, whatever the camera says of it

    def close(self) -> None:
        """End a move that is under way, at once; later commands fail, and so does the one under way."""
        self._closed = True
        if not self._ending_now:
            self._transport.interrupt()
        with self._busy:
            if self._ending is not None:
                self._ending.cancel()
                self._end_move(1, _LAST_STOP_SECONDS)

    # -- commands --------------------------------------------------------------------------------------------

    def _command(self, request: PtzRequest, presets: dict[str, str]) -> None:
        """Only what the camera has taken ends the move before: until then that has its own end."""
        if request.action == "move":
            self._move(request)
            return
        if request.action == "stop":
            self._stop()
        elif request.action == "go-to":
            self._call("AbsoluteMove", f"<Position>{self._vector(request)}</Position>")
        elif request.action == "home":
            self._call("GotoHomePosition")
        elif request.action == "preset":
            # By its name, or by the camera's token.
            token = presets.get(request.preset) or (request.preset if request.preset in presets.values() else None)
            if token is None:
                names = ", ".join(presets) or "none"
                raise InvalidValue("preset", request.preset, f"the camera has no such preset; use one of {names}")
            self._call("GotoPreset", f"<PresetToken>{escape(token)}</PresetToken>")
        self._end_by(None)

    def _move(self, request: PtzRequest) -> None:
        seconds = parse_duration(request.duration)
        # The camera's own limit is for the case that we end first. In whole seconds, as many cameras read no others.
        timeout = f"<Timeout>PT{max(1, math.ceil(seconds))}S</Timeout>"
        ending = threading.Timer(seconds, lambda: self._move_is_over(ending))
        ending.daemon = True
        try:
            self._call("ContinuousMove", f"<Velocity>{self._vector(request)}</Velocity>{timeout}")
        except soap.Fault:
            raise
        except MeshError:  # one that times out may have moved the camera all the same
            self._end_by(ending)
            raise
        self._end_by(ending)

    def _vector(self, request: PtzRequest) -> str:
        pan_tilt = f'<PanTilt xmlns="{soap.SCHEMA}" x="{request.pan:g}" y="{request.tilt:g}"/>'
        zoom = f'<Zoom xmlns="{soap.SCHEMA}" x="{request.zoom:g}"/>'
        return (pan_tilt if self._profile.moves else "") + (zoom if self._profile.zooms else "")

    def _stop(self) -> None:
        self._call("Stop", "<PanTilt>true</PanTilt><Zoom>true</Zoom>")

    # -- the end of a move -----------------------------------------------------------------------------------

    def _end_by(self, ending: threading.Timer | None) -> None:
        """From now on this ends the move under way, and nothing else."""
        before, self._ending = self._ending, ending
        if before is not None:
            before.cancel()
        if ending is not None:
            ending.start()

    def _move_is_over(self, ending: threading.Timer) -> None:
        """In the timer's thread."""
        with self._busy:  # whoever has it gives it back after `_COMMAND_SECONDS`
            if self._ending is ending:  # otherwise another command has come meanwhile
                self._end_move(_STOP_ATTEMPTS, _STOP_SECONDS)

    def _end_move(self, attempts: int, seconds: float) -> None:
        self._ending = None
        self._ending_now = True
        for attempt in range(1, attempts + 1):
            self._deadline = time.monotonic() + (_LAST_STOP_SECONDS if self._closed else seconds)
            try:
                self._stop()
            except MeshError as error:
                log.warning("the camera was not told to stop, attempt %d: %s", attempt, error)
            else:
                break
        self._ending_now = False

    # -- what the camera says --------------------------------------------------------------------------------

    def _status(self, presets: tuple[str, ...]) -> PtzStatus:
        try:
            status = xml.first(self._call("GetStatus"), "PTZStatus")
        except soap.NotAuthorized:
            raise
        except soap.Fault as error:  # many a camera does not know where it looks
            log.debug("no status: %s", error)
            status = None
        position, moving = xml.first(status, "Position"), xml.first(status, "MoveStatus")
        states = {xml.text(moving, axis).upper() for axis in ("PanTilt", "Zoom")}
        return PtzStatus(
            pan=_number(xml.first(position, "PanTilt"), "x"),
            tilt=_number(xml.first(position, "PanTilt"), "y"),
            zoom=_number(xml.first(position, "Zoom"), "x"),
            moving=True if "MOVING" in states else False if "IDLE" in states else None,
            presets=presets,
        )

    def _presets(self) -> dict[str, str]:
        """Tokens by name, in the camera's order. One that has no name, or another's, is named by its token."""
        try:
            body = self._call("GetPresets")
        except soap.NotAuthorized:
            raise
        except soap.Fault as error:
            log.debug("no presets: %s", error)
            return {}
        found: dict[str, str] = {}
        for preset in list(xml.each(body, "Preset"))[:_MAX_PRESETS]:
            token = preset.get("token", "")
            name = plain(xml.text(preset, "Name"), _MAX_NAME_CHARACTERS)
            found[name if name and name not in found else plain(token, _MAX_NAME_CHARACTERS)] = token
        return found

    def _call(self, name: str, arguments: str = "") -> Element:
        body = (
            f'<{name} xmlns="{soap.PTZ}"><ProfileToken>{escape(self._profile.token)}</ProfileToken>{arguments}</{name}>'
        )
        seconds = self._deadline - time.monotonic()
        if seconds <= 0:
            raise Unavailable(f"{self._transport.what}: the camera answers too slowly")
        return self._transport.call(self._url, body, seconds=seconds)

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        if not self._busy.acquire(timeout=_COMMAND_SECONDS):
            raise Unavailable("another command to this camera is under way; try again")
        try:
            yield
        finally:
            self._busy.release()


def check_ptz(request: PtzRequest) -> None:
    """Refuse what no camera can do.

    Raises:
        InvalidValue: names the field, the value and the fix.
    """
    if request.action == "move":
        if not 0 < parse_duration(request.duration) <= MAX_MOVE_SECONDS:
            raise InvalidValue("duration", request.duration, f"use more than 0 and at most {MAX_MOVE_SECONDS:g}s")
        if not (request.pan or request.tilt or request.zoom):
            raise InvalidValue("pan", request.pan, "give a speed for pan, tilt or zoom; to end a move use action stop")
    if request.action == "go-to" and request.zoom < 0:
        raise InvalidValue("zoom", request.zoom, "a position is 0 (wide) to 1 (tele)")
    if request.action == "preset" and not request.preset:
        raise InvalidValue("preset", request.preset, "give the preset's name; action status lists them")


def _number(element: Element | None, attribute: str) -> float | None:
    try:
        value = float(element.get(attribute, "") if element is not None else "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None  # JSON has no others
