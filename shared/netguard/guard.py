"""Parses, resolves and judges one URL."""

import asyncio
import ipaddress
import re
import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from schemas.errors import InvalidValue, NotFound, Unavailable
from shared.netguard import addresses
from shared.netguard.url import GuardedUrl, Policy
from shared.urls import redact

# None: the port has no default and must be given.
DEFAULT_PORTS: dict[str, int | None] = {
    "http": 80,
    "https": 443,
    "rtsp": 554,
    "rtsps": 322,
    "rtmp": 1935,
    "rtmps": 443,
    "srt": None,
    "udp": None,
    "onvif": 80,
}
LOCAL_SCHEMES = frozenset(("file", "images", "screen", "v4l2"))
RESOLVE_SECONDS = 5.0  # a resolver that needs longer is down; its own retries would take half a minute

_MAX_URL_CHARACTERS = 4_096  # longer than any signed URL of a CDN
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")  # parsers differ on these, and a difference is a hole
_HOST_NAME = re.compile(r"^[\w.-]{1,253}$")
_VIDEO_DEVICE = re.compile(r"^/dev/video\d{1,4}$")
_VIDEO_LOCATION = re.compile(r"^[A-Za-z0-9][A-Za-z0-9:._-]{0,127}$")  # a port, looked up among the cameras there are

_DISPLAY = re.compile(r"^(:\d{1,5}(\.\d{1,2})?)?$")
_GLOB = frozenset("*?[")

# getaddrinfo knows no deadline, so it runs elsewhere; a bounded number: a dead resolver must not pile up threads.
_resolvers = ThreadPoolExecutor(max_workers=16, thread_name_prefix="resolve")


def check(url: str, policy: Policy, field: str = "source", timeout_seconds: float = RESOLVE_SECONDS) -> GuardedUrl:
    """Parse and resolve `url` and hold it against `policy`. Blocks while resolving.

    Raises:
        InvalidValue: not allowed, or not a URL; names `field`, the value without secrets and the fix.
        NotFound: a file or device that does not exist.
        Unavailable: the host cannot be resolved within `timeout_seconds`.
    """
    guarded = _parse(url, policy, field)
    if guarded.scheme in LOCAL_SCHEMES:
        return _check_local(guarded)
    try:
        found = _literal(guarded) or _resolvers.submit(_resolve, guarded).result(timeout_seconds)
    except (OSError, UnicodeError, FutureTimeoutError) as error:
        raise _unresolved(guarded, error) from None
    return _admit(guarded, found)


async def check_async(
    url: str, policy: Policy, field: str = "source", timeout_seconds: float = RESOLVE_SECONDS
) -> GuardedUrl:
    """`check` without blocking the event loop; the same result and errors."""
    guarded = _parse(url, policy, field)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_seconds):
            if guarded.scheme in LOCAL_SCHEMES:  # a network file system may take its time
                return await loop.run_in_executor(None, _check_local, guarded)
            found = _literal(guarded) or await loop.run_in_executor(_resolvers, _resolve, guarded)
    except (OSError, UnicodeError, TimeoutError) as error:
        raise _unresolved(guarded, error) from None
    return _admit(guarded, found)


def check_form(url: str, policy: Policy, field: str = "source") -> None:
    """The part of `check` that asks nobody: whether this is a URL at all, with a scheme of `policy`.

    Raises:
        InvalidValue: as `check`.
    """
    _parse(url, policy, field)


def check_literal(url: str, policy: Policy, field: str = "source") -> None:
    """As `check_form`; and where the host is an address, whether that may be reached. A name is judged by `check`.

    Raises:
        InvalidValue: as `check`.
    """
    guarded = _parse(url, policy, field)
    if guarded.scheme in LOCAL_SCHEMES:
        return
    try:
        found = _literal(guarded)
    except UnicodeError as error:  # a part of the name is empty, or longer than 63 characters
        raise _unresolved(guarded, error) from None
    if found:
        _admit(guarded, found)


def _parse(url: str, policy: Policy, field: str) -> GuardedUrl:
    shown = redact(url)[0]
    known = policy.schemes & (DEFAULT_PORTS.keys() | LOCAL_SCHEMES)
    names = ", ".join(f"{scheme}://" for scheme in sorted(known)) or "nothing"
    if len(url) > _MAX_URL_CHARACTERS or _UNSAFE.search(url):
        raise InvalidValue(
            field, shown, f"escape spaces, backslashes and control characters; at most {_MAX_URL_CHARACTERS} characters"
        )
    try:
        parts = urlsplit(url)
        # A port of a camera, as in v4l2://usb-0000:00:14.0-1, is no port of a host.
        host, port = parts.hostname or "", None if parts.scheme in LOCAL_SCHEMES else parts.port
    except ValueError:
        raise InvalidValue(
            field, shown, "write scheme://host:port/path, with special characters of a password percent-encoded"
        ) from None
    if parts.scheme not in known or not url.lower().startswith(parts.scheme + "://"):
        raise InvalidValue(field, shown, f"only {names} can be used here")
    base = GuardedUrl(url=url, shown=shown, scheme=parts.scheme, policy=policy, field_name=field)
    if parts.scheme in LOCAL_SCHEMES:
        return base
    return _with_host(base, parts, host, port)


def _with_host(base: GuardedUrl, parts: SplitResult, host: str, port: int | None) -> GuardedUrl:
    base = replace(base, query=parts.query)
    if not host and base.listens:
        host = "0.0.0.0"  # noqa: S104  # asked for: udp://:5000 is at every address of this machine
    if not host:
        raise InvalidValue(base.field_name, base.shown, "give a host after ://")
    if ":" not in host and not _HOST_NAME.match(host):
        raise InvalidValue(base.field_name, base.shown, "the host may hold letters, digits, dots and hyphens only")
    port = DEFAULT_PORTS[base.scheme] if port is None else port
    if not port:
        raise InvalidValue(base.field_name, base.shown, f"give a port, {base.scheme}://host:port")
    return replace(
        base,
        host=host,
        port=port,
        path=parts.path,
        username=parts.username,
        password=parts.password,
    )


def _resolve(guarded: GuardedUrl, flags: int = 0) -> list[str]:
    infos = socket.getaddrinfo(guarded.host, guarded.port, type=socket.SOCK_STREAM, flags=flags)
    return list(dict.fromkeys(str(info[4][0]) for info in infos))


def _literal(guarded: GuardedUrl) -> list[str]:
    """The address when the host is one, in any notation that the resolver takes (also 0x7f.1 and 2130706433)."""
    try:
        return _resolve(guarded, socket.AI_NUMERICHOST)
    except socket.gaierror:
        return []


def _unresolved(guarded: GuardedUrl, error: Exception) -> Unavailable | InvalidValue:
    if isinstance(error, UnicodeError):
        return InvalidValue(guarded.field_name, guarded.shown, "the host is not a valid name")
    # TimeoutError is an OSError too, so the resolver's own words are asked for last.
    late = isinstance(error, TimeoutError | FutureTimeoutError)
    reason = "the resolver does not answer" if late else (getattr(error, "strerror", None) or "unknown host")
    return Unavailable(
        f"{guarded.field_name} {guarded.shown!r}: {guarded.host} cannot be resolved ({reason}); "
        "check the name or give an address"
    )


def _admit(guarded: GuardedUrl, found: list[str]) -> GuardedUrl:
    """With the addresses that the policy allows; a host that has some others besides is fine, they are not used."""
    allowed, refused, private = [], "", False
    for text in found:
        address = ipaddress.ip_address(text)
        if guarded.listens:
            reason = addresses.refusal_to_listen(address, multicast=guarded.scheme == "udp")
        else:
            groups = guarded.policy.groups and guarded.scheme == "udp"
            reason = addresses.refusal(address, guarded.policy.allow_private, groups=groups)
        if reason is None:
            allowed.append(text)
        else:
            private = private or addresses.refusal(address, allow_private=True) is None
            refused = refused or f"{text} {reason}"
    if not allowed:
        way = guarded.policy.private_setting if private else ""
        fix = f"{refused}, which may not be reached from here{f'; {way} allows it' if way else ''}"
        raise InvalidValue(guarded.field_name, guarded.shown, fix)
    return replace(guarded, addresses=tuple(allowed))


def _check_local(guarded: GuardedUrl) -> GuardedUrl:
    """The resolved path of a file or folder under the roots, or of a video device; the name of a display."""
    text, _, query = guarded.url.partition("://")[2].partition("?")
    text, guarded = unquote(text), replace(guarded, query=query)
    if guarded.scheme == "screen":
        return _check_display(guarded, text)
    if not text or "\x00" in text:
        raise InvalidValue(guarded.field_name, guarded.shown, "give a path after ://")
    if guarded.scheme == "v4l2":
        if _VIDEO_LOCATION.match(text):
            return replace(guarded, host=text)
        return _check_device(guarded, Path("/", text))
    if guarded.scheme == "file":
        return replace(guarded, file=(path := _under_roots(guarded, text)), path=str(path))
    folder, _, pattern = text.rpartition("/")
    if not pattern or _GLOB & set(folder):
        raise InvalidValue(guarded.field_name, guarded.shown, "write images:///folder/*.png, with * in the name only")
    return replace(guarded, file=_under_roots(guarded, folder or "."), path=pattern)


def _under_roots(guarded: GuardedUrl, text: str) -> Path:
    roots = [root.resolve() for root in guarded.policy.file_roots]
    try:
        # A relative path is looked for under each root; an absolute one has to lie under one.
        candidates = [(root / text).resolve() for root in roots]
    except (OSError, RuntimeError):  # RuntimeError: links in a circle
        raise InvalidValue(guarded.field_name, guarded.shown, "this path leads nowhere") from None
    inside = [path for path in candidates if any(path.is_relative_to(root) for root in roots)]
    try:
        path = next((path for path in inside if path.exists()), None)
        if path is None and len(inside) == len(candidates) > 0:
            raise NotFound(f"{guarded.field_name} {guarded.shown!r}: there is no such {_thing(guarded)}")
        if path is None:
            places = ", ".join(map(str, roots)) or "no folder is allowed"
            raise InvalidValue(
                guarded.field_name,
                guarded.shown,
                f"files must lie under: {places}; more are set with FRAMEMESH_<SERVICE>_FILE_ROOTS",
            )
        mode = path.stat().st_mode
    except OSError as error:
        raise InvalidValue(guarded.field_name, guarded.shown, f"cannot be read ({error.strerror})") from None
    if guarded.scheme == "images":
        fits, fix = stat.S_ISDIR(mode), "give a folder, and the pattern of names in it: images:///folder/*.png"
    else:
        fits = stat.S_ISREG(mode) or (guarded.policy.folders and stat.S_ISDIR(mode))
        fix = "give a regular file or a folder" if guarded.policy.folders else "give a regular file"
    if not fits:
        raise InvalidValue(guarded.field_name, guarded.shown, fix)
    return path


def _thing(guarded: GuardedUrl) -> str:
    return "folder" if guarded.scheme == "images" else "file"


def _check_display(guarded: GuardedUrl, text: str) -> GuardedUrl:
    if not _DISPLAY.match(text):
        raise InvalidValue(guarded.field_name, guarded.shown, "give a display of this machine, as in screen://:0")
    return replace(guarded, host=text)


def _check_device(guarded: GuardedUrl, path: Path) -> GuardedUrl:
    try:
        path = path.resolve()  # names like /dev/v4l/by-id/… are links
    except (OSError, RuntimeError):
        raise InvalidValue(guarded.field_name, guarded.shown, "this path leads nowhere") from None
    if not _VIDEO_DEVICE.match(str(path)):
        raise InvalidValue(guarded.field_name, guarded.shown, "give a video device, v4l2:///dev/video0")
    if not path.exists():
        raise NotFound(f"{guarded.field_name} {guarded.shown!r}: there is no such device; is the camera plugged in?")
    if not path.is_char_device():
        raise InvalidValue(guarded.field_name, guarded.shown, "this is not a device")
    return replace(guarded, file=path, path=str(path))
