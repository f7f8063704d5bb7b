"""One SRT connection to a listener, through libsrt itself: PyAV's libav has no SRT, and a command line no secrets.

The calls are those of https://github.com/Haivision/srt/blob/master/docs/API/API-functions.md; the library comes with
Debian's ffmpeg, which srt:// sources need as well.
"""

import ctypes
import socket
import struct
import time
from functools import cache
from typing import Final

from schemas.errors import MeshError, NotFound, Unavailable
from services.publisher.transport_options import SrtOptions

# Debian's names of the library with GnuTLS, which its ffmpeg uses, and with OpenSSL; and the name elsewhere.
_NAMES: Final = ("libsrt-gnutls.so.1.5", "libsrt-openssl.so.1.5", "libsrt.so.1.5", "libsrt.so.1")
_FAILED: Final = -1
_LOG_CRITICAL: Final = 2  # what ends a connection is told by the calls
# srt.h, SRT_SOCKOPT
_LINGER, _SNDTIMEO, _PASSPHRASE, _PBKEYLEN, _CONNTIMEO = 7, 13, 26, 27, 36
_PEERLATENCY, _STREAMID, _PAYLOADSIZE, _PEERIDLETIMEO = 44, 46, 49, 55
_MILLISECONDS: Final = 1_000
# srt.h, SRT_REJECT_REASON (10 BADSECRET, 11 UNSECURE, 16 TIMEOUT), and what applications give instead: an HTTP code
# above 1000 (docs/features/access-control.md).
_REFUSALS: Final = {
    10: "the peer refuses this passphrase",
    11: "one of the two has a passphrase and the other has none",
    1401: "the peer refuses these credentials",
    1403: "the peer refuses these credentials",
    1409: "another sender has this streamid",
}
_NO_SUCH_STREAM: Final = 1404
_NO_ANSWER: Final = 16
# srt.h, SRT_ERRNO
_CONNECTED: Final = 5  # SRT_SOCKSTATUS
_PLAYED_SECONDS: Final = 0.1  # for the receiver to fetch what has become due
_ERROR_NO_SERVER: Final = 1001
_ERROR_TIMEOUT: Final = 6003
# struct CBytePerfMon: nothing before pktSndDropTotal has changed since 1.4; the whole of it is below 1 kB.
_STATISTICS_BYTES: Final = 1_024
_DROPPED_OFFSET: Final = 64


class SrtSender:
    """Connected once made. In live mode libsrt keeps what it sends for the latency and drops what is later: `send`
    never waits long, and `dropped` counts."""

    def __init__(self, address: str, port: int, options: SrtOptions, shown: str, timeout_seconds: float) -> None:
        """Blocks until the listener has answered.

        Raises:
            MeshError: why it does not take this connection; names no secret.
        """
        self._library = _library()
        self._shown, self._timeout_seconds = shown, timeout_seconds
        self._socket = self._library.srt_create_socket()
        self._told_dropped = 0
        if self._socket == _FAILED:
            raise Unavailable(f"{shown}: no SRT socket: {self._last_error()}")
        try:
            self._configure(options)
            self._connect(address, port)
        except MeshError:
            self._library.srt_close(self._socket)
            raise

    def send(self, datagram: memoryview) -> None:
        """Raises:
        Unavailable: the connection is gone.
        """
        data = bytes(datagram)  # ctypes takes no read-only view; 1.3 kB
        if self._library.srt_sendmsg2(self._socket, data, len(data), None) == _FAILED:
            if self._library.srt_getlasterror(None) == _ERROR_TIMEOUT:
                raise Unavailable(f"{self._shown}: the peer takes nothing within {self._timeout_seconds:g} s")
            raise Unavailable(f"{self._shown}: the peer closed the connection")

    def newly_dropped(self) -> int:
        """Datagrams that came too late to be sent, since the last call."""
        statistics = ctypes.create_string_buffer(_STATISTICS_BYTES)
        if self._library.srt_bistats(self._socket, statistics, 0, 1) == _FAILED:
            return 0
        (total,) = struct.unpack_from("=i", statistics, _DROPPED_OFFSET)
        new, self._told_dropped = total - self._told_dropped, total
        return max(0, int(new))

    def close(self) -> None:
        """Waits until what was sent has arrived and been played, for the timeout at most each."""
        if self._library.srt_getsockstate(self._socket) == _CONNECTED:
            # A receiver gives out nothing of a closed connection, and keeps each datagram for the latency: there is
            # no sign of its end but the time.
            time.sleep(min(self._timeout_seconds, self._latency_seconds()))
        self._library.srt_close(self._socket)

    def _latency_seconds(self) -> float:
        """What both ends have agreed on, and some."""
        value, size = ctypes.c_int(0), ctypes.c_int(ctypes.sizeof(ctypes.c_int))
        self._library.srt_getsockflag(self._socket, _PEERLATENCY, ctypes.byref(value), ctypes.byref(size))
        return value.value / _MILLISECONDS + _PLAYED_SECONDS

    def _configure(self, options: SrtOptions) -> None:
        milliseconds = int(self._timeout_seconds * _MILLISECONDS)
        values: list[tuple[int, bytes]] = [
            (_CONNTIMEO, _int(milliseconds)),
            (_SNDTIMEO, _int(milliseconds)),
            (_PEERIDLETIMEO, _int(milliseconds)),
            (_PEERLATENCY, _int(options.latency_ms)),
            (_PAYLOADSIZE, _int(options.datagram_bytes)),
            (_LINGER, struct.pack("=ii", 1, max(1, round(self._timeout_seconds)))),
        ]
        if options.stream_id:
            values.append((_STREAMID, options.stream_id))
        if options.passphrase:
            values += [(_PBKEYLEN, _int(options.key_bytes)), (_PASSPHRASE, options.passphrase)]
        for option, value in values:
            if self._library.srt_setsockflag(self._socket, option, value, len(value)) == _FAILED:
                raise Unavailable(f"{self._shown}: SRT option {option} is refused: {self._last_error()}")

    def _connect(self, address: str, port: int) -> None:
        target = _sockaddr(address, port)
        if self._library.srt_connect(self._socket, target, len(target)) != _FAILED:
            return
        raise self._refusal(self._library.srt_getrejectreason(self._socket))

    def _refusal(self, reason: int) -> MeshError:
        if reason == _NO_SUCH_STREAM:
            return NotFound(f"{self._shown}: the peer knows no such streamid")
        if reason == _NO_ANSWER or self._library.srt_getlasterror(None) == _ERROR_NO_SERVER:
            return Unavailable(
                f"{self._shown}: no answer within {self._timeout_seconds:g} s; is the receiver listening, and the port "
                "right?"
            )
        return Unavailable(f"{self._shown}: {_REFUSALS.get(reason) or self._last_error()}")

    def _last_error(self) -> str:
        said: bytes = self._library.srt_getlasterror_str()
        return said.decode(errors="replace")


@cache
def _library() -> ctypes.CDLL:
    """The library, started.

    Raises:
        Unavailable: it is not installed.
    """
    for name in _NAMES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.srt_getlasterror_str.restype = ctypes.c_char_p
        library.srt_startup()
        library.srt_setloglevel(_LOG_CRITICAL)
        return library
    raise Unavailable("srt:// outputs need the library libsrt 1.5 (Debian package libsrt1.5-gnutls)")


def _int(value: int) -> bytes:
    return struct.pack("=i", value)


def _sockaddr(address: str, port: int) -> bytes:
    """struct sockaddr_in or sockaddr_in6 of Linux."""
    if ":" in address:
        packed = socket.inet_pton(socket.AF_INET6, address)
        return struct.pack("=H", socket.AF_INET6) + struct.pack(">HI", port, 0) + packed + bytes(4)
    return struct.pack("=H", socket.AF_INET) + struct.pack(">H", port) + socket.inet_aton(address) + bytes(8)
