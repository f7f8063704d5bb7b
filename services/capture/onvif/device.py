"""What a camera has: its clock, its services, its profiles, and where their pictures are."""

import logging
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import SplitResult, urlsplit
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from schemas.errors import BadRequest, InvalidValue, Unavailable
from services.capture.onvif import soap, xml
from services.capture.onvif.soap import plain
from services.capture.onvif.transport import Transport

log = logging.getLogger(__name__)

_MAX_PROFILES = 256  # an NVR with 64 channels has 192
_MAX_NAME_CHARACTERS = 64  # ONVIF's own limit, ver10/schema `Name`
_RTSP_PORTS = {"rtsp": 554, "rtsps": 322}


@dataclass(frozen=True)
class Services:
    """Where the camera says that it can be asked; empty when it does not have the service."""

    media: str = ""
    ptz: str = ""
    events: str = ""


@dataclass(frozen=True)
class Profile:
    """One way in which the camera sends pictures."""

    token: str
    name: str
    has_video: bool
    has_ptz: bool
    moves: bool = True
    """Its PTZ has pan and tilt."""
    zooms: bool = True


class OnvifDevice:
    """One camera, as it is asked once. Every call blocks, all of them together until `deadline`."""

    def __init__(self, transport: Transport, deadline: float) -> None:
        """`deadline`: by the monotonic clock."""
        self._transport = transport
        self._deadline = deadline

    def take_clock(self) -> None:
        """Learn how far the camera's clock is off: it refuses tokens of another time.

        Raises:
            Unavailable: the camera does not answer.
        """
        credentials = self._transport.credentials
        if credentials is None:
            return
        try:
            body = self._call("", f'<GetSystemDateAndTime xmlns="{soap.DEVICE}"/>', anonymous=True)
        except soap.Fault as error:  # some tell it only to those whom they know
            log.debug("%s: its clock is not known: %s", self._transport.what, error)
            return
        now = _utc(body)
        if now is not None:
            self._transport.credentials = replace(credentials, clock_offset=now - datetime.now(UTC))

    def services(self) -> Services:
        """Raises:
        NotAuthorized, Unavailable: as the camera says.
        """
        body = self._call("", f'<GetCapabilities xmlns="{soap.DEVICE}"><Category>All</Category></GetCapabilities>')
        found = Services(*(xml.text(body, "Capabilities", name, "XAddr") for name in ("Media", "PTZ", "Events")))
        if not found.media:
            raise BadRequest(f"{self._transport.what}: the device has no media service; is it a camera?")
        return found

    def profile(self, services: Services, wanted: str) -> tuple[Profile, Profile | None]:
        """The profile to show, and the one to move the camera by, which may be another.

        Args:
            wanted: token or name; empty: the first that has video.

        Raises:
            InvalidValue: there is none of that name; names those that there are.
        """
        body = self._call(services.media, f'<GetProfiles xmlns="{soap.MEDIA}"/>')
        profiles = [_profile(element) for element in xml.each(body, "Profiles")][:_MAX_PROFILES]
        chosen = next((profile for profile in profiles if wanted and wanted in (profile.token, profile.name)), None)
        if not wanted:
            chosen = next((profile for profile in profiles if profile.has_video), None)
        if chosen is None and wanted:
            names = ", ".join(plain(profile.name or profile.token, _MAX_NAME_CHARACTERS) for profile in profiles)
            raise InvalidValue("source", wanted, f"the camera has no such profile; use one of {names or 'none'}")
        if chosen is None:
            raise BadRequest(f"{self._transport.what}: none of the camera's profiles has video")
        movable = chosen if chosen.has_ptz else next((profile for profile in profiles if profile.has_ptz), None)
        return chosen, movable

    def stream_uri(self, services: Services, profile: Profile, transport: str) -> str:
        """The profile's RTSP URL at the camera's checked address, with our credentials. Secret.

        Raises:
            Unavailable: the camera answers with something else.
        """
        body = self._call(
            services.media,
            f'<GetStreamUri xmlns="{soap.MEDIA}"><StreamSetup>'
            f'<Stream xmlns="{soap.SCHEMA}">RTP-Unicast</Stream><Transport xmlns="{soap.SCHEMA}">'
            f"<Protocol>{'UDP' if transport == 'udp' else 'RTSP'}</Protocol></Transport></StreamSetup>"
            f"<ProfileToken>{escape(profile.token)}</ProfileToken></GetStreamUri>",
        )
        uri = xml.text(body, "MediaUri", "Uri")
        try:
            parts = urlsplit(uri)
            port = parts.port or _RTSP_PORTS.get(parts.scheme, 0)
        except ValueError:
            parts, port = SplitResult("", "", "", "", ""), 0
        if parts.scheme not in _RTSP_PORTS:
            raise Unavailable(f"{self._transport.what}: the camera gives no RTSP URL for profile {profile.name!r}")
        return self._transport.here(parts, port)

    def _call(self, url: str, body: str, *, anonymous: bool = False) -> Element:
        seconds = self._deadline - time.monotonic()
        if seconds <= 0:
            raise Unavailable(f"{self._transport.what}: the camera answers too slowly")
        return self._transport.call(url, body, seconds=seconds, anonymous=anonymous)


def _profile(element: Element) -> Profile:
    ptz = xml.first(element, "PTZConfiguration")
    # The spaces are optional: a camera that names none of them is tried with everything.
    moves, zooms = (
        ptz is not None and any(xml.first(ptz, f"Default{kind}Space") is not None for kind in kinds)
        for kinds in (
            ("ContinuousPanTiltVelocity", "AbsolutePantTiltPosition", "RelativePanTiltTranslation"),
            ("ContinuousZoomVelocity", "AbsoluteZoomPosition", "RelativeZoomTranslation"),
        )
    )
    return Profile(
        token=element.get("token", ""),
        name=xml.text(element, "Name")[:_MAX_NAME_CHARACTERS],
        has_video=xml.first(element, "VideoEncoderConfiguration") is not None,
        has_ptz=ptz is not None,
        moves=moves or not zooms,
        zooms=zooms or not moves,
    )


def _utc(body: Element) -> datetime | None:
    """The camera's time; None when it says nothing that is one."""
    utc = xml.first(body, "UTCDateTime")
    fields = (
        ("Date", "Year"),
        ("Date", "Month"),
        ("Date", "Day"),
        ("Time", "Hour"),
        ("Time", "Minute"),
        ("Time", "Second"),
    )
    try:
        return datetime(*(int(xml.text(utc, *path)) for path in fields), tzinfo=UTC)  # type: ignore[arg-type,misc]
    except ValueError:
        return None
