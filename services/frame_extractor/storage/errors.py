"""What goes wrong on the way to a video, or with the place for its pictures."""

from schemas.errors import BadRequest, InvalidValue, MeshError, NotFound
from schemas.extraction import FailureKind


class StorageError(Exception):
    """One clear text, free of secrets, and what is at fault."""

    def __init__(self, kind: FailureKind, message: str, *, may_pass: bool = False) -> None:
        super().__init__(message)
        self.kind: FailureKind = kind
        self.message = message
        self.may_pass = may_pass
        """The same request may succeed later; without, another attempt is wasted."""

    def __reduce__(self) -> tuple[type["StorageError"], tuple[FailureKind, str], dict[str, bool]]:
        # It crosses processes; what is special about a kind of it does not.
        return StorageError, (self.kind, self.message), {"may_pass": self.may_pass}


def download_error(error: MeshError) -> StorageError:
    """What the gate or a server said of a video's address, or of what lies there."""
    if isinstance(error, InvalidValue):  # of the URL itself, of a redirect, of a playlist's entry
        return StorageError("url", error.message)
    settled = isinstance(error, BadRequest | NotFound)
    return StorageError("download", error.message, may_pass=not settled)
