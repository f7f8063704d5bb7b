"""The Transport header: how one track travels to one client (RFC 2326 section 12.39)."""

import re
from dataclasses import dataclass

from services.publisher.rtsp.messages import RtspError

_MAX_CHOICES = 8
_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_FIRST_CLIENT_PORT = 1024  # below are services of the client's host, which want no media
_MAX_PORT = 65_535
_MAX_CHANNEL = 255


@dataclass(frozen=True)
class Tcp:
    """In the RTSP connection, on these channels; None: the server chooses."""

    rtp_channel: int | None = None
    rtcp_channel: int | None = None


@dataclass(frozen=True)
class Udp:
    """To these ports of the client's address."""

    rtp_port: int
    rtcp_port: int


def choose_transport(header: str, peer: str, *, udp: bool) -> Tcp | Udp:
    """The first choice of the client's that is served.

    `peer`: its address, the only one that packets go to. `udp`: whether UDP is served.

    Raises:
        RtspError: 461, there is none; says why.
    """
    why = "no Transport header"
    for choice in header.split(",")[:_MAX_CHOICES]:
        try:
            return _parse(choice.strip(), peer, udp=udp)
        except _Unserved as error:
            why = str(error)
    raise RtspError(461, f"{why}; use RTP/AVP/TCP;unicast;interleaved=0-1 or RTP/AVP;unicast;client_port=N-M")


class _Unserved(Exception):
    pass


def _parse(choice: str, peer: str, *, udp: bool) -> Tcp | Udp:
    profile, *rest = (part.strip() for part in choice.split(";"))
    given = {
        name.strip().lower(): value.strip().strip('"') for name, _, value in (part.partition("=") for part in rest)
    }
    profile = profile.upper()
    if profile not in ("RTP/AVP", "RTP/AVP/UDP", "RTP/AVP/TCP"):
        raise _Unserved("a profile that is not RTP/AVP")
    if "multicast" in given:
        raise _Unserved("multicast is not served")
    if given.get("mode", "play").lower() != "play":
        raise _Unserved("only mode=play is served")
    if given.get("destination", peer) != peer:
        raise _Unserved("packets go to the address that asks for them, and to no other destination")
    if profile == "RTP/AVP/TCP":
        if "interleaved" not in given:
            return Tcp()
        rtp, rtcp = _range(given["interleaved"], _MAX_CHANNEL)
        return Tcp(rtp, rtcp)
    if not udp:
        raise _Unserved("UDP is not served")
    if "client_port" not in given:
        raise _Unserved("no client_port")
    rtp, rtcp = _range(given["client_port"], _MAX_PORT)
    if min(rtp, rtcp) < _FIRST_CLIENT_PORT:
        raise _Unserved(f"client_port below {_FIRST_CLIENT_PORT}")
    return Udp(rtp, rtcp)


def _range(text: str, highest: int) -> tuple[int, int]:
    found = _RANGE.fullmatch(text)
    if not found:
        raise _Unserved("a range that is not N-M")
    first = int(found[1])
    second = int(found[2]) if found[2] else first + 1
    if first == second or max(first, second) > highest:
        raise _Unserved(f"a range beyond {highest}")
    return first, second
