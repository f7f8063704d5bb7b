"""Turns what libav and the system say into errors that may be shown: typed, one line, free of secrets."""

import errno
import os
from pathlib import Path

import av

from schemas.errors import InternalError, MeshError, NotFound, OutOfSpace, Unavailable
from shared.urls import scrub

_TLS_SCHEMES = ("rtmps://", "rtsps://")
_FULL = (errno.ENOSPC, errno.EDQUOT)


def explain_network(error: Exception, shown: str, url: str, timeout_seconds: float) -> MeshError:
    """Why a peer does not take the packets; `shown` is the URL as it may be shown, `url` the secret one."""
    match error:
        case MeshError():
            return error
        case ConnectionRefusedError():
            return Unavailable(f"{shown}: connection refused; is the server running and the port right?")
        case TimeoutError():
            return Unavailable(f"{shown}: no answer within {timeout_seconds:g} s")
        case ConnectionResetError() | BrokenPipeError() | ConnectionAbortedError() | EOFError():
            return Unavailable(f"{shown}: the server closed the connection")
        case av.InvalidDataError():
            return Unavailable(f"{shown}: the server gave no valid answer within {timeout_seconds:g} s")
        case av.HTTPUnauthorizedError() | av.HTTPForbiddenError() | PermissionError():
            return Unavailable(f"{shown}: the server refuses these credentials")
        case av.HTTPNotFoundError():
            return NotFound(f"{shown}: the server knows no such path")
        case OSError(errno=errno.EIO) if url.startswith(_TLS_SCHEMES):
            return Unavailable(
                f"{shown}: host not found, the server refused the stream, or its certificate is not valid; name the "
                "root of a private one in SSL_CERT_FILE of the publisher"
            )
        case OSError(errno=errno.EIO):
            return Unavailable(f"{shown}: host not found, or the server refused the stream")
        case OSError() | av.FFmpegError():
            return Unavailable(scrub(f"{shown}: {error.strerror or 'failed'}", [url]))
        case _:
            return InternalError(scrub(f"{shown}: {type(error).__name__}: {error}", [url]))


def explain_file(error: Exception, path: Path, needed_bytes: int = 1) -> MeshError:
    """Why a recording cannot be written."""
    if isinstance(error, MeshError):
        return error
    number = error.errno if isinstance(error, OSError | av.FFmpegError) else None
    if number in _FULL:
        return OutOfSpace(
            f"disk of {path}", needed_bytes, _free_bytes(path), "delete old recordings or name a larger file root"
        )
    if isinstance(error, OSError | av.FFmpegError):
        return Unavailable(f"{path}: {error.strerror or 'failed'}")
    return InternalError(f"{path}: {type(error).__name__}: {error}")


def _free_bytes(path: Path) -> int:
    try:
        status = os.statvfs(path.parent)
    except OSError:  # gone with its disk; the first error is the one to tell
        return 0
    return status.f_bavail * status.f_frsize
