"""What the query of srt:// and udp:// may say of how a transport stream is sent."""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct

from schemas.errors import InvalidValue

TS_PACKET_BYTES: Final = 188
# Seven transport packets: what fits into an Ethernet frame with room for SRT's header, and what receivers expect.
_DATAGRAM_BYTES: Final = 7 * TS_PACKET_BYTES
_MAX_DATAGRAM_BYTES: Final = 1_456  # with SRT's, UDP's and IP's headers 1,500
_MICROSECONDS_PER_MS: Final = 1_000
_MAX_LATENCY_MS: Final = 60_000
_MAX_TTL: Final = 255
_PASSPHRASE_BYTES: Final = (10, 79)  # SRTO_PASSPHRASE
_MAX_STREAM_ID_BYTES: Final = 512  # SRTO_STREAMID
_KEY_BYTES: Final = (16, 24, 32)

_SRT_KEYS: Final = ("mode", "latency", "passphrase", "pbkeylen", "streamid", "pkt_size")
_UDP_KEYS: Final = ("pkt_size", "ttl", "localaddr")


class SrtOptions(Struct, frozen=True, kw_only=True):
    """Of one connection; https://ffmpeg.org/ffmpeg-protocols.html#srt has the names and units."""

    latency_ms: int = 120
    """What is lost on the way can be sent again for so long; libsrt's own default."""
    passphrase: bytes = b""
    key_bytes: int = 16
    stream_id: bytes = b""
    datagram_bytes: int = _DATAGRAM_BYTES


class UdpOptions(Struct, frozen=True, kw_only=True):
    datagram_bytes: int = _DATAGRAM_BYTES
    ttl: int | None = None
    """None: the system's; of a group 1, which stays in this network."""
    local_address: str = ""
    """The interface that a group is reached by."""


def srt_options(url: str, shown: str) -> SrtOptions:
    """Raises:
    InvalidValue: one that is not known, or has no such value. No value is quoted: it may be a secret.
    """
    values = _values(url, shown, _SRT_KEYS)
    if values.get("mode", "caller") != "caller":
        raise InvalidValue("to", shown, "of mode only caller is served; let the receiver listen")
    passphrase, stream_id = values.get("passphrase", "").encode(), values.get("streamid", "").encode()
    least, most = _PASSPHRASE_BYTES
    if passphrase and not least <= len(passphrase) <= most:
        raise InvalidValue("to", shown, f"a passphrase has {least} to {most} bytes")
    if len(stream_id) > _MAX_STREAM_ID_BYTES:
        raise InvalidValue("to", shown, f"a streamid has at most {_MAX_STREAM_ID_BYTES} bytes")
    latency_us = _number(values, "latency", shown, 0, _MAX_LATENCY_MS * _MICROSECONDS_PER_MS)
    key_bytes = _number(values, "pbkeylen", shown, _KEY_BYTES[0], _KEY_BYTES[-1]) or _KEY_BYTES[0]
    if key_bytes not in _KEY_BYTES:
        raise InvalidValue("to", shown, f"pbkeylen is one of {', '.join(map(str, _KEY_BYTES))} bytes")
    return SrtOptions(
        latency_ms=SrtOptions().latency_ms if latency_us is None else latency_us // _MICROSECONDS_PER_MS,
        passphrase=passphrase,
        key_bytes=key_bytes,
        stream_id=stream_id,
        datagram_bytes=_datagram_bytes(values, shown),
    )


def udp_options(url: str, shown: str) -> UdpOptions:
    """Raises:
    InvalidValue: one that is not known, or has no such value.
    """
    values = _values(url, shown, _UDP_KEYS)
    local_address = values.get("localaddr", "")
    if local_address:
        try:
            ip_address(local_address)
        except ValueError:
            raise InvalidValue("to", shown, "localaddr is an address of this machine, as 192.0.2.7") from None
    return UdpOptions(
        datagram_bytes=_datagram_bytes(values, shown),
        ttl=_number(values, "ttl", shown, 0, _MAX_TTL),
        local_address=local_address,
    )


def _values(url: str, shown: str, known: tuple[str, ...]) -> dict[str, str]:
    # `+` stays what it is, as libav reads it: parse_qsl would make it a space.
    query = urlsplit(url).query.replace("+", "%2B")
    pairs = parse_qsl(query, keep_blank_values=True)
    if any(key not in known for key, _ in pairs) or len(dict(pairs)) < len(pairs):
        raise InvalidValue("to", shown, f"the options here are {', '.join(known)}, each once")
    return {unquote(key): value for key, value in pairs}


def _number(values: Mapping[str, str], key: str, shown: str, least: int, most: int) -> int | None:
    text = values.get(key)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and least <= int(text) <= most):
        unit = " µs" if key == "latency" else ""
        raise InvalidValue("to", shown, f"{key} is a whole number from {least} to {most}{unit}")
    return int(text)


def _datagram_bytes(values: Mapping[str, str], shown: str) -> int:
    size = _number(values, "pkt_size", shown, TS_PACKET_BYTES, _MAX_DATAGRAM_BYTES)
    return _DATAGRAM_BYTES if size is None else size - size % TS_PACKET_BYTES
