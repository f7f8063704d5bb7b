"""Real UDP sockets on loopback: one sender at a time, a clear word for a port in use, no wait that cannot end."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from schemas.errors import Conflict, InvalidValue, Unavailable
from schemas.resources import StreamSpec
from services.capture.sources.udp import Receiver, UdpSource, parse_options
from shared.netguard import GuardedUrl, Policy, check
from tests.support.peers import free_port

pytestmark = pytest.mark.unit

_POLICY = Policy(schemes=frozenset(("udp",)), allow_private=True, listens=True)


def _guarded(port: int) -> GuardedUrl:
    return check(f"udp://127.0.0.1:{port}", _POLICY)


@pytest.fixture
def port() -> int:
    return free_port(socket.SOCK_DGRAM)


@pytest.fixture
def receiver(port: int) -> Iterator[Receiver]:
    url = f"udp://127.0.0.1:{port}"
    with Receiver(_guarded(port), parse_options(url, url), 0.5, threading.Event()) as opened:
        yield opened


def _sender(port: int) -> socket.socket:
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.connect(("127.0.0.1", port))
    return sender


def test_only_the_first_sender_is_heard(receiver: Receiver, port: int) -> None:
    with _sender(port) as first, _sender(port) as second:
        first.send(b"a" * 1316)
        assert receiver.wait()
        assert receiver.read(4000) == b"a" * 1316
        second.send(b"b" * 1316)
        first.send(b"c" * 1316)
        assert receiver.read(4000) == b"c" * 1316


def test_another_sender_may_begin_when_the_first_is_silent(receiver: Receiver, port: int) -> None:
    with _sender(port) as first, _sender(port) as second:
        first.send(b"a")
        assert receiver.read(4000) == b"a"
        receiver.heard_at -= 2.0
        second.send(b"b")
        with pytest.raises(Unavailable, match="another sender"):
            receiver.read(4000)


def test_silence_has_an_end(receiver: Receiver) -> None:
    began = time.monotonic()
    with pytest.raises(Unavailable, match="nothing has come"):
        receiver.read(4000)
    assert time.monotonic() - began < 5


def test_more_than_was_asked_for_is_kept(receiver: Receiver, port: int) -> None:
    with _sender(port) as sender:
        for letter in (b"a", b"b", b"c"):
            sender.send(letter * 1316)
        whole, sent = b"", b"a" * 1316 + b"b" * 1316 + b"c" * 1316
        while len(whole) < len(sent):
            read = receiver.read(1000)
            assert 0 < len(read) <= 1000
            whole += read
    assert whole == sent


def test_a_port_in_use_is_named(port: int) -> None:
    url = f"udp://127.0.0.1:{port}"
    with (
        Receiver(_guarded(port), parse_options(url, url), 1, threading.Event()),
        pytest.raises(Conflict, match=f"UDP port {port} is in use"),
    ):
        Receiver(_guarded(port), parse_options(url, url), 1, threading.Event())


def test_a_wait_ends_when_it_is_told_to(port: int) -> None:
    stop = threading.Event()
    url = f"udp://127.0.0.1:{port}"
    with Receiver(_guarded(port), parse_options(url, url), 60, stop) as receiver:
        threading.Timer(0.2, stop.set).start()
        began = time.monotonic()
        assert not receiver.wait()
        assert time.monotonic() - began < 3


@pytest.mark.parametrize("query", ["fifo=1", "buffer_size=much", "localaddr=1.2.3"])
def test_options_are_checked(query: str) -> None:
    with pytest.raises(InvalidValue, match="source"):
        UdpSource.check(StreamSpec(stream="cam0", source=f"udp://:5000?{query}"))


def test_buffers_are_taken_in_both_units() -> None:
    url = "udp://:5000?fifo_size=50000&overrun_nonfatal=1"
    assert parse_options(url, url).buffer_bytes == 50_000 * 188
