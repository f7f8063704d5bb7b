"""Errors that travel: each has a code (as in HTTP) and a text that is safe to show to anyone.

On the bus they are the `Nats-Service-Error-Code` and `Nats-Service-Error` headers of a reply; in state and
events they are an `ErrorInfo`. A text names the field, the value and the fix, and never holds a secret.
"""

from typing import ClassVar

from msgspec import Struct


class ErrorInfo(Struct, frozen=True, kw_only=True):
    """An error as data."""

    code: int
    message: str


class MeshError(Exception):
    """Base of every error that may cross the bus."""

    code: ClassVar[int] = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.reply: bytes = b""
        """Body of the reply that carried this error, where it had one (the state after a failed change)."""

    @property
    def info(self) -> ErrorInfo:
        return ErrorInfo(code=self.code, message=self.message)


class BadRequest(MeshError, ValueError):
    """The request can never succeed as it is."""

    code = 400


class InvalidValue(BadRequest):
    """One field has a value that is not allowed."""

    def __init__(self, field: str, value: object, fix: str) -> None:
        self.field, self.value, self.fix = field, value, fix
        super().__init__(f"{field} {_shown(value)}: {fix}")


class NotFound(MeshError, LookupError):
    """The named thing does not exist."""

    code = 404


class Conflict(MeshError):
    """The thing changed meanwhile, or its name is taken."""

    code = 409


class TooMany(MeshError):
    """A limit is reached; try again later."""

    code = 429


class InternalError(MeshError):
    """Something unforeseen; the log of the answering service has the details."""

    code = 500


class Unavailable(MeshError, ConnectionError):
    """Something this depends on does not answer: a host, a device, the bus."""

    code = 503


class OutOfSpace(Unavailable):
    """Memory or disk is too small. The text names bytes needed, bytes free and the setting to change."""

    code = 507

    def __init__(self, what: str, needed_bytes: int = 0, free_bytes: int = 0, fix: str = "") -> None:
        """`what` alone: the whole text, of an error that came over the bus."""
        self.needed_bytes, self.free_bytes = needed_bytes, free_bytes
        super().__init__(f"{what}: {needed_bytes} bytes needed, {free_bytes} bytes free; {fix}" if fix else what)


class Forbidden(Unavailable):
    """The bus does not let this party do that; the text names the subject and the party."""

    code = 403


_BY_CODE: dict[int, type[MeshError]] = {
    400: BadRequest,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    429: TooMany,
    500: InternalError,
    503: Unavailable,
    507: OutOfSpace,
}

_SHOWN_VALUE_CHARACTERS = 120  # a hostile value must not flood a terminal or a log


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_VALUE_CHARACTERS else text[: _SHOWN_VALUE_CHARACTERS - 1] + "…"


def error_from_code(code: int, message: str) -> MeshError:
    """The typed error for a code received over the bus; unknown codes become `InternalError`."""
    return _BY_CODE.get(code, InternalError)(message)
