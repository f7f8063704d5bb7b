"""Finds ONVIF cameras on the networks of this machine: one question to all, by WS-Discovery (OASIS, 2009).

Own code and not a library: it is one datagram out, and the answers are read within bounds.
"""

import logging
import select
import socket
import struct
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit
from xml.etree.ElementTree import Element

from services.capture.onvif import xml
from services.capture.onvif.soap import plain

log = logging.getLogger(__name__)

GROUP, PORT = "239.255.255.250", 3702  # WS-Discovery 1.1, 2.4
SECONDS = 2.0
_REPEAT_SECONDS = 0.5  # the question is asked twice: datagrams get lost
_MAX_DATAGRAM_BYTES = 65_507
_MAX_ANSWERS = 2_000  # a flood is cut off; the largest sites have some hundred cameras in one network
_MAX_CAMERAS = 500
_HOPS = 1  # not beyond the router
_MAX_TEXT_CHARACTERS = 128
_HTTP_PORT = 80

_PROBE = (
    '<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"'
    ' xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing"><s:Header>'
    "<a:MessageID>urn:uuid:{id}</a:MessageID><a:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</a:To>"
    "<a:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</a:Action></s:Header><s:Body>"
    '<Probe xmlns="http://schemas.xmlsoap.org/ws/2005/04/discovery">'
    '<Types xmlns:n="http://www.onvif.org/ver10/network/wsdl">n:NetworkVideoTransmitter</Types>'
    "</Probe></s:Body></s:Envelope>"
)


@dataclass(frozen=True)
class Announced:
    """A camera that answered."""

    endpoint: str
    """Its own name for itself, the same after every restart: `urn:uuid:…`."""
    address: str
    port: int
    model: str = ""
    vendor: str = ""


def discover(interfaces: Iterable[str] = (), seconds: float = SECONDS) -> list[Announced]:
    """Ask, and listen for `seconds`. Blocks.

    Args:
        interfaces: names of network interfaces to ask on; empty: all that are there.
    """
    found: dict[str, Announced] = {}
    message_id = str(uuid.uuid4())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.bind(("", 0))
        asker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, _HOPS)
        _ask(asker, message_id, interfaces)
        began = time.monotonic()
        repeated = False
        for _ in range(_MAX_ANSWERS):
            if time.monotonic() - began >= seconds:  # also while answers pour in
                break
            left = began + (seconds if repeated else min(_REPEAT_SECONDS, seconds)) - time.monotonic()
            if not select.select([asker], [], [], max(0.0, left))[0]:
                if repeated:
                    break
                repeated = True
                _ask(asker, message_id, interfaces)
                continue
            data, (address, _) = asker.recvfrom(_MAX_DATAGRAM_BYTES)
            for camera in read_probe_match(data, address, message_id):
                if len(found) < _MAX_CAMERAS:
                    found.setdefault(camera.endpoint, camera)
    return list(found.values())


def _ask(asker: socket.socket, message_id: str, interfaces: Iterable[str]) -> None:
    wanted = frozenset(interfaces)
    for index, name in socket.if_nameindex():
        if wanted and name not in wanted:
            continue
        # struct ip_mreqn: the interface by its number, as it may have several addresses, or none yet.
        interface = struct.pack("=4s4si", bytes(4), bytes(4), index)
        try:
            asker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
            asker.sendto(_PROBE.format(id=message_id).encode(), (GROUP, PORT))
        except OSError as error:  # it is gone or down, or has no address: no camera is there
            log.debug("%s is not asked for cameras: %s", name, error)


def read_probe_match(data: bytes, address: str, message_id: str) -> Iterator[Announced]:
    """The cameras in an answer from `address`; none when it is no answer to `message_id`."""
    try:
        root = xml.parse(data)
    except xml.UnreadableXml as error:
        log.debug("an answer from %s is left out: %s", address, error)
        return
    if xml.text(root, "RelatesTo").removeprefix("urn:").removeprefix("uuid:") != message_id:
        return  # somebody else's question
    for match in xml.each(root, "ProbeMatch"):
        camera = _camera(match, address)
        if camera:
            yield camera


def _camera(match: Element, address: str) -> Announced | None:
    endpoint = plain(xml.text(match, "EndpointReference", "Address"), _MAX_TEXT_CHARACTERS)
    types = {name.rpartition(":")[2] for name in xml.text(match, "Types").split()}
    if not endpoint or "NetworkVideoTransmitter" not in types:
        return None
    scopes = _scopes(xml.text(match, "Scopes").split())
    return Announced(
        endpoint=endpoint,
        # Where the answer came from, not where it says: that may be another network's, or anybody's.
        address=address,
        port=_port(xml.text(match, "XAddrs").split(), address),
        model=scopes.get("hardware") or scopes.get("name", ""),
        vendor=scopes.get("manufacturer") or scopes.get("mfr", ""),
    )


def _scopes(scopes: list[str]) -> dict[str, str]:
    """`onvif://www.onvif.org/hardware/DS-2CD` -> {"hardware": "DS-2CD"}; of several of a kind the first."""
    found: dict[str, str] = {}
    for scope in scopes:
        kind, _, value = scope.removeprefix("onvif://www.onvif.org/").partition("/")
        if scope.startswith("onvif://") and value:
            found.setdefault(kind.lower(), plain(unquote(value), _MAX_TEXT_CHARACTERS))
    return found


def _port(urls: list[str], address: str) -> int:
    """Of the URL with this address, or else of the first that has one."""
    ports: dict[str, int] = {}
    for url in urls:
        try:
            parts = urlsplit(url)
            if parts.scheme == "http" and parts.hostname:
                ports.setdefault(parts.hostname, parts.port or _HTTP_PORT)
        except ValueError:
            continue
    return ports.get(address) or next(iter(ports.values()), _HTTP_PORT)
