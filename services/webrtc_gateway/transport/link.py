"""ICE and DTLS of one peer, shared by the parts of its session: a publisher, and a viewer for each stream it gets."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from aiortc.rtcdtlstransport import RTCDtlsFingerprint

from schemas.sessions import SessionKind
from services.webrtc_gateway.transport.dtls import DtlsIdentity, DtlsServer
from services.webrtc_gateway.transport.ice import IcePeer, PacketReceiver, SharedIceTransport
from services.webrtc_gateway.transport.srtp import SrtpReceiver, SrtpSender

logger = logging.getLogger(__name__)

Reported = tuple[int, tuple[dict[str, str | int | float | bool], ...]]
"""When, CLOCK_REALTIME, 0: never; and statistics under W3C's names."""
KeysReady = Callable[[SrtpSender, SrtpReceiver], None]


class Dtls(Protocol):
    """What a part needs: a handshake of its own, or its place on a link."""

    on_data: Callable[[bytes], None]

    def receive(self, datagram: bytes) -> None: ...

    def send_data(self, data: bytes) -> None: ...

    def close(self) -> None: ...


class LinkPart:
    """One part's place: its end is not the link's."""

    def __init__(self, link: "SharedLink", receiver: PacketReceiver, on_keys: KeysReady) -> None:
        self.receiver, self.on_keys = receiver, on_keys
        self.on_data: Callable[[bytes], None] = lambda data: None
        self._link = link

    def receive(self, datagram: bytes) -> None:
        """The handshake is the link's."""

    def send_data(self, data: bytes) -> None:
        self._link.send_data(data)

    def close(self) -> None:
        self._link.leave(self)


class SharedLink:
    """Its ICE side is there at once, so that it can be offered; `open` it with what the peer answers."""

    def __init__(
        self,
        transport: SharedIceTransport,
        identity: DtlsIdentity,
        on_connected: Callable[[], None],
        on_closed: Callable[[str], None],
        kind: SessionKind,
    ) -> None:
        """`on_closed` is told why, when the peer ends the link or its handshake fails; `kind`: how it was signalled."""
        self.kind = kind
        self.ice = IcePeer(self)
        self._transport, self._identity = transport, identity
        self._on_connected, self._on_closed = on_connected, on_closed
        self._dtls: DtlsServer | None = None
        self._keys: tuple[SrtpSender, SrtpReceiver] | None = None
        self._parts: tuple[LinkPart, ...] = ()
        self.closed = False
        self.peer_gone = False
        """It has ended the link itself, or never agreed to it: nothing reaches it."""
        self.on_data: Callable[[bytes], None] = lambda data: None
        """Takes each record of application data."""
        self.reported: Callable[[Sequence[int]], Reported] = lambda ssrcs: (0, ())
        """What the peer tells of streams of ours, by their SSRCs."""
        transport.add(self.ice)

    @property
    def connected(self) -> bool:
        return self._keys is not None and not self.closed

    def open(self, fingerprints: list[RTCDtlsFingerprint]) -> None:
        """Raises:
        BadRequest: none of the fingerprints can be checked.
        """
        self._dtls = DtlsServer(self._identity, fingerprints, self._send, self._keys_ready, self._ended)
        self._dtls.on_data = self._take_data

    def join(self, receiver: PacketReceiver, on_keys: KeysReady) -> LinkPart:
        """A place for one part, which is told its keys once they are there, and never before this returns."""
        part = LinkPart(self, receiver, on_keys)
        self._parts = (*self._parts, part)
        if self._keys is not None:
            asyncio.get_running_loop().call_soon(self._tell_keys, part)
        return part

    def leave(self, part: LinkPart) -> None:
        self._parts = tuple(other for other in self._parts if other is not part)

    def send_data(self, data: bytes) -> None:
        if self._dtls is not None:
            self._dtls.send_data(data)

    def close(self) -> None:
        """Say goodbye; the parts are closed before."""
        if self.closed:
            return
        self.closed = True
        if self._dtls is not None:
            self._dtls.close()
        self._transport.remove(self.ice)

    # --- from the network

    def path_selected(self) -> None:
        for part in self._parts:
            part.receiver.path_selected()

    def receive_dtls(self, datagram: bytes) -> None:
        if self._dtls is not None:  # before the answer: the peer repeats its hello
            self._dtls.receive(datagram)

    def receive_srtp(self, datagram: bytes) -> None:
        for part in self._parts:
            part.receiver.receive_srtp(datagram)

    def _send(self, datagram: bytes) -> None:
        self._transport.send(self.ice, (datagram,))

    def _keys_ready(self, sender: SrtpSender, receiver: SrtpReceiver) -> None:
        self._keys = sender, receiver
        for part in self._parts:
            self._tell_keys(part)
        self._on_connected()

    def _tell_keys(self, part: LinkPart) -> None:
        if self._keys is not None and part in self._parts:
            part.on_keys(*self._keys)

    def _take_data(self, data: bytes) -> None:
        self.on_data(data)  # who takes it may come later than the handshake begins

    def _ended(self, reason: str) -> None:
        logger.debug("a shared link ends: %s", reason)
        self.peer_gone = True
        self._on_closed(reason)
