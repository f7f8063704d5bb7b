"""Files with secrets: read only where nobody else may read or change them."""

import stat
from pathlib import Path

from schemas.errors import BadRequest, NotFound

_MAX_BYTES = 256 * 1024  # the tokens of a large mesh; a key is a hundredth of it
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def read_private(path: Path, what: str, *, secret: bool = True) -> bytes:
    """The bytes of a file that only its owner may change and, when it is `secret`, only owner and group may read.

    Raises:
        NotFound: there is none.
        BadRequest: others may do too much with it, or it is too long; names the file and what to do.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise NotFound(f"{what} {str(path)!r}: {error.strerror}") from None
    if len(data) > _MAX_BYTES:
        raise BadRequest(f"{what} {str(path)!r}: longer than {_MAX_BYTES} bytes; is it the right file?")
    too_much = _WRITABLE_BY_OTHERS | (stat.S_IROTH if secret else 0)
    if mode & too_much:
        raise BadRequest(f"{what} {str(path)!r}: mode {mode:04o} lets others use it; chmod 600 it")
    return data
