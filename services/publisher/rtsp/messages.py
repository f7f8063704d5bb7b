"""RTSP/1.0 messages and interleaved packets on one connection (RFC 2326 sections 4, 6, 7 and 10.12)."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass

MAX_HEAD_BYTES = 8_192  # players send 300; a long Digest header adds 400
_MAX_HEADERS = 64
_MAX_BODY_BYTES = 4_096  # of GET_PARAMETER and SET_PARAMETER, which name a few words
_MESSAGE_SECONDS = 10.0  # from a message's first byte to its last
_MAX_BLANK_LINES = 8  # between messages, which RFC 2326 section 4.1 lets servers ignore
_INTERLEAVED = b"$"
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_METHOD = re.compile(r"[A-Z_]{1,32}")
_CSEQ = re.compile(r"[0-9]{1,10}")

REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
    451: "Parameter Not Understood",
    453: "Not Enough Bandwidth",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    459: "Aggregate Operation Not Allowed",
    461: "Unsupported Transport",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "RTSP Version Not Supported",
    551: "Option not supported",
}


Headers = Mapping[str, str | tuple[str, ...]]


class RtspError(Exception):
    """A request is refused; has the `status` and the `text` for the log and the reply's body."""

    def __init__(self, status: int, text: str, headers: Headers | None = None, *, fatal: bool = False):
        """`fatal`: where the next message begins is not known; the connection ends."""
        super().__init__(f"{status}: {text}")
        self.status, self.text, self.headers, self.fatal = status, text, dict(headers or {}), fatal
        self.cseq = ""


@dataclass(frozen=True)
class Request:
    """One request; header names are in lower case."""

    method: str
    uri: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def cseq(self) -> str:
        return self.headers["cseq"]


@dataclass(frozen=True)
class Interleaved:
    """A packet of the client's, RTCP for the most part."""

    channel: int
    payload: bytes


async def read_message(reader: asyncio.StreamReader) -> Request | Interleaved | None:
    """The next message; None when the client has closed. Waits for its first byte without a deadline of its own.

    Raises:
        RtspError: it is too long, too slow or not RTSP/1.0.
    """
    first = await reader.read(1)
    if not first:
        return None
    try:
        async with asyncio.timeout(_MESSAGE_SECONDS):
            return await _read_rest(reader, first)
    except TimeoutError:
        raise RtspError(400, f"a message took longer than {_MESSAGE_SECONDS:g} s", fatal=True) from None
    except asyncio.IncompleteReadError:
        return None
    except asyncio.LimitOverrunError:
        raise RtspError(413, f"a message's head is longer than {MAX_HEAD_BYTES} bytes", fatal=True) from None


async def _read_rest(reader: asyncio.StreamReader, first: bytes) -> Request | Interleaved:
    if first == _INTERLEAVED:
        channel, high, low = await reader.readexactly(3)
        return Interleaved(channel, await reader.readexactly(high << 8 | low))
    for _ in range(_MAX_BLANK_LINES):
        if first not in (b"\r", b"\n"):
            break
        first = await reader.readexactly(1)
    if first == _INTERLEAVED:
        return await _read_rest(reader, first)
    head = first + await reader.readuntil(b"\r\n\r\n")
    request = parse_head(head)
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or len(length) > 9:
        raise RtspError(400, f"Content-Length {length!r} is not a number", fatal=True)
    if int(length) > _MAX_BODY_BYTES:
        raise RtspError(413, f"a body of {length} bytes; at most {_MAX_BODY_BYTES}", fatal=True)
    if int(length):
        body = await reader.readexactly(int(length))
        return Request(request.method, request.uri, request.headers, body)
    return request


def parse_head(head: bytes) -> Request:
    """A request from its head with the empty line.

    Raises:
        RtspError: it is not a request of RTSP/1.0.
    """
    lines = head.decode("latin-1").split("\r\n")[:-2]  # any byte; what is looked at further is checked then
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("RTSP/") or not _METHOD.fullmatch(words[0]):
        if len(words) == 3 and words[2].startswith("HTTP/"):
            raise RtspError(505, "this is an RTSP server; RTSP in HTTP is not served", fatal=True)
        raise RtspError(400, "the first line is not METHOD URI RTSP/1.0", fatal=True)
    if len(lines) > _MAX_HEADERS + 1:
        raise RtspError(400, f"more than {_MAX_HEADERS} headers", fatal=True)
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not _HEADER_NAME.fullmatch(name) or _CONTROL.search(value):
            raise RtspError(400, "a header is not Name: value", fatal=True)
        if headers.setdefault(name.lower(), value.strip()) != value.strip():
            raise RtspError(400, f"two different headers {name}", fatal=True)
    if not _CSEQ.fullmatch(headers.get("cseq", "")):
        raise RtspError(400, "no CSeq, or it is not a number", fatal=True)
    if words[2] != "RTSP/1.0":
        error = RtspError(505, "only RTSP/1.0 is spoken here", fatal=True)
        error.cseq = headers["cseq"]
        raise error
    return Request(words[0], words[1], headers)


def response(status: int, cseq: str, headers: Headers, body: str = "") -> bytes:
    """A response; a header with several values is written several times."""
    lines = [f"RTSP/1.0 {status} {REASONS[status]}"]
    if cseq:
        lines.append(f"CSeq: {cseq}")
    for name, value in headers.items():
        lines += [f"{name}: {one}" for one in ((value,) if isinstance(value, str) else value)]
    encoded = body.encode()
    if encoded:
        lines.append(f"Content-Length: {len(encoded)}")
    return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + encoded
