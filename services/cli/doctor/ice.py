"""The ways that WebRTC takes: the addresses that viewers are told, our UDP port, STUN and TURN servers."""

import asyncio
import ipaddress
import re
from collections.abc import AsyncIterator
from typing import NamedTuple

from schemas.service_table import BY_NAME
from services.cli.doctor.containers import in_container
from services.cli.doctor.finding import Finding, Level
from services.cli.doctor.machine import EVERY_ADDRESS, Machine
from services.cli.doctor.stun import Answer, ask_tcp, ask_udp
from shared.settings import Settings

_ASK_SECONDS = 1.5
_HOST = re.compile(
    r"\[(?P<six>[0-9A-Fa-f:.]+)\](:(?P<port6>\d+))?|(?P<bare>[0-9A-Fa-f.]*(:[0-9A-Fa-f.]*){2,8})|(?P<name>[^:\s]+)(:(?P<port>\d+))?"
)
_SERVER = re.compile(r"(?P<scheme>stuns?|turns?):(?P<host>[^?]+)(\?transport=(?P<transport>udp|tcp))?")
_MAX_PORT = 65_535
_PORTS = {"stun": 3478, "turn": 3478, "stuns": 5349, "turns": 5349}  # RFC 7064, RFC 7065
_TELL = "set FRAMEMESH_WEBRTC_HOSTS to addresses that viewers reach"


class IceSettings(Settings, frozen=True, kw_only=True):
    """What of the gateway's settings is looked at; a test holds it against them."""

    udp_port: int = BY_NAME["webrtc-gateway"].udp_port
    webrtc_hosts: tuple[str, ...] = ()
    ice_servers: tuple[str, ...] = ()


class _Place(NamedTuple):
    host: str
    port: int


async def hosts(machine: Machine) -> AsyncIterator[Finding]:
    """What viewers are told, and whether that can be right."""
    if not machine.runs("webrtc-gateway"):
        return
    settings = machine.settings_of(IceSettings, "webrtc-gateway")
    every = settings.bind in EVERY_ADDRESS
    if not settings.webrtc_hosts:
        if not every:
            only = "this machine's own programs" if _loopback(settings.bind) else settings.bind
            text = f"WebRTC listens on {settings.bind}: {only} can watch"
            yield Finding("ice", "addresses", "ok", text)
        elif in_container():
            text = "viewers are told this container's own addresses, which they can hardly reach"
            yield Finding(
                "ice", "addresses", "warning", text, f"export FRAMEMESH_WEBRTC_HOSTS=ADDRESS-OF-THE-HOST: {_TELL}"
            )
        else:
            yield Finding("ice", "addresses", "ok", "viewers are told every address of this machine")
        return
    mesh = await machine.look()
    runs = any(
        p.service == "webrtc-gateway" and p.node == machine.settings.node for p in (mesh.present if mesh else ())
    )
    places = [_place(text, settings.udp_port) for text in settings.webrtc_hosts]
    answers = await asyncio.gather(*(_try_udp(place) for place in places if place is not None))
    for text in (text for text, place in zip(settings.webrtc_hosts, places, strict=True) if place is None):
        yield Finding("ice", "addresses", "wrong", f"webrtc_hosts {text!r} is no address, name or host:port", _TELL)
    for place, answer in zip([place for place in places if place is not None], answers, strict=True):
        yield _told(place, answer, every, runs)
    if every and all(_loopback(place.host) for place in places if place is not None):
        text = "all hosts that viewers are told are this machine's loopback, and the gateway listens for others"
        yield Finding("ice", "addresses", "wrong", text, f"export FRAMEMESH_WEBRTC_HOSTS=ADDRESS: {_TELL}")


async def servers(machine: Machine) -> AsyncIterator[Finding]:
    """Each STUN and TURN server is asked for our address, which needs no credentials."""
    if not machine.runs("webrtc-gateway"):
        return
    settings = machine.settings_of(IceSettings, "webrtc-gateway")
    if not settings.ice_servers:
        yield Finding("ice", "STUN and TURN", "ok", "none are set: viewers come straight to the UDP port")
        return
    answers = await asyncio.gather(*(_ask(url) for url in settings.ice_servers))
    for url, answer in zip(settings.ice_servers, answers, strict=True):
        if isinstance(answer, Answer):
            seen = f", and sees this host as {answer.seen_as}" if answer.seen_as else ""
            yield Finding("ice", "STUN and TURN", "ok", f"{url} answers in {answer.seconds * 1000:.0f} ms{seen}")
        else:
            fix = "correct FRAMEMESH_WEBRTC_GATEWAY_ICE_SERVERS, or let the firewall pass what goes there"
            yield Finding("ice", "STUN and TURN", "wrong", f"{url}: {answer}", fix)


def _told(place: _Place, answer: Answer | str | None, every: bool, runs: bool) -> Finding:
    where = f"{place.host}:{place.port}"
    private = _private(place.host)
    if place.host in EVERY_ADDRESS:
        return Finding("ice", "addresses", "wrong", f"{where} is no address that anybody can send to", _TELL)
    if isinstance(answer, str):
        level: Level = "wrong" if runs else "ok"
        text = f"{where}: {answer}" + ("" if runs else "; the gateway does not run here now")
        return Finding("ice", "addresses", level, text, f"let UDP port {place.port} through, or {_TELL}")
    note = "; a private address: viewers of that network only" if private and every else ""
    if not place.port:
        return Finding("ice", "addresses", "ok", f"{place.host}, at a port that the gateway chooses{note}")
    # A gateway answers those alone who prove that they watch; silence is what it says to us.
    text = "answers" if answer is not None else "takes datagrams (a gateway answers its viewers alone)"
    return Finding("ice", "addresses", "ok", f"{where} {text}{note}")


async def _try_udp(place: _Place) -> Answer | str | None:
    if not place.port:
        return None
    try:
        return await ask_udp(place.host, place.port, _ASK_SECONDS)
    except OSError as error:
        return "nothing listens there" if isinstance(error, ConnectionRefusedError) else error.strerror or str(error)


async def _ask(url: str) -> Answer | str:
    """The answer, or why there is none."""
    match = _SERVER.fullmatch(url)
    place = _place(match["host"], _PORTS[match["scheme"]]) if match else None
    if match is None or place is None:
        return "no such URL"
    tls = match["scheme"].endswith("s")
    try:
        async with asyncio.timeout(_ASK_SECONDS):
            if tls or match["transport"] == "tcp":
                answer = await ask_tcp(place.host, place.port, tls)
            else:
                answer = await ask_udp(place.host, place.port, _ASK_SECONDS)
    except TimeoutError:
        answer = None
    except OSError as error:
        return "nothing listens there" if isinstance(error, ConnectionRefusedError) else error.strerror or str(error)
    return answer or "no answer"


def _place(text: str, port: int) -> _Place | None:
    match = _HOST.fullmatch(text.strip())
    if match is None:
        return None
    given = int(match["port6"] or match["port"] or port)
    return _Place(match["six"] or match["bare"] or match["name"], given) if given <= _MAX_PORT else None


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _private(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return False
