"""What libav's errors mean to the one who asked."""

import errno
import re
from collections.abc import Iterable

from schemas.errors import BadRequest, InternalError, MeshError, NotFound, Unavailable
from shared.urls import scrub

_MAX_LOG_CHARACTERS = 160  # a line of libav's log, as a hint
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")

NO_MEMORY = "needs more memory than there is"
_NO_ANSWER = "does not answer in time; is it switched on and reachable?"
# By errno: what the operating system says of a host, a device or a disk. All of it may change by itself.
_UNAVAILABLE = {
    errno.ECONNREFUSED: "refuses the connection; is the server running and the port right?",
    errno.ECONNRESET: "closed the connection",
    errno.EPIPE: "closed the connection",
    errno.ETIMEDOUT: _NO_ANSWER,
    errno.EHOSTUNREACH: "cannot be reached; is it switched on, and the address right?",
    errno.ENETUNREACH: "cannot be reached; is there a route to its network?",
    errno.EADDRNOTAVAIL: "cannot be reached; the address does not exist here",
    errno.EBUSY: "is in use by another program",
    errno.ENODEV: "is not plugged in",
    errno.EACCES: "may not be opened; check the permissions",
    errno.EPERM: "may not be opened; check the permissions",
    errno.ENOSPC: "cannot be written, the disk is full; free some space",
    errno.EIO: "cannot be read or written; the other side gave up",
    errno.EPROTONOSUPPORT: "does not send over the transport that was asked for; use transport: auto",
    errno.EAGAIN: "has nothing to read at the moment",
    errno.ENOMEM: NO_MEMORY,
}


class NotMedia(BadRequest):
    """What is there cannot be read as media: it is something else, or damaged."""


class OtherFormat(NotMedia):
    """It is media, or a list of media, of a kind that is not read here."""


class TooLong(BadRequest):
    """What a playlist leads to is more, all together, than its policy allows."""


def explain_av_error(error: BaseException, what: str, secret_urls: Iterable[str] = ()) -> MeshError:
    """The typed error for an exception of PyAV, with a text free of the secrets of `secret_urls`.

    `what` starts the text: "source 'rtsp://…'". A MeshError is returned as it is. 404: file or stream not found;
    400: not media, or no codec for it; 503: refused, unreachable, timed out, ended, and wrong credentials too,
    because those are often put right on the other side; 500: unforeseen.
    """
    if isinstance(error, MeshError):
        return error
    kind, text = _meaning(error)
    hint = _log_line(error)
    message = f"{what} {text}{f' [{hint}]' if hint else ''}"
    return kind(_CONTROL.sub(" ", scrub(message, secret_urls)))


def _meaning(error: BaseException) -> tuple[type[MeshError], str]:
    import av.error as ave  # heavy, and not there in every image

    if isinstance(error, ave.HTTPNotFoundError):
        return NotFound, "is not there: the server answers 404 Not Found"
    if isinstance(error, ave.HTTPUnauthorizedError | ave.HTTPForbiddenError):
        return Unavailable, "refuses the credentials; check user name and password"
    if isinstance(error, ave.HTTPServerError | ave.HTTPTooManyRequestsError):
        return Unavailable, "cannot serve this at the moment"
    if isinstance(error, ave.HTTPClientError):
        return BadRequest, "refuses the request"
    if isinstance(error, FileNotFoundError):
        return NotFound, "does not exist"
    if isinstance(error, ave.InvalidDataError):
        return NotMedia, "is not media that can be read"
    if isinstance(error, ave.EOFError):
        return Unavailable, "ended"
    if isinstance(error, ave.ExitError | TimeoutError):  # ExitError: the deadline given to av.open
        return Unavailable, _NO_ANSWER
    if isinstance(error, ave.LookupError | ave.PatchWelcomeError):
        return BadRequest, f"needs something that this libav does not have ({_strerror(error)})"
    code = getattr(error, "errno", None)
    if code in _UNAVAILABLE:
        return Unavailable, _UNAVAILABLE[code]
    if isinstance(error, ValueError):
        return OtherFormat, f"is no media of a kind that can be read here ({_strerror(error)})"
    if isinstance(error, OSError):
        return Unavailable, f"cannot be opened ({_strerror(error)})"
    return InternalError, f"failed ({_strerror(error)})"


def _strerror(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or type(error).__name__)


def _log_line(error: BaseException) -> str:
    """The last line that libav logged about it, when PyAV's log is on."""
    log = getattr(error, "log", None)
    return str(log[2]).strip()[:_MAX_LOG_CHARACTERS] if log else ""
