"""What the API says no with: a code, its number, and the HTTP status."""

from typing import Final

from schemas.errors import Conflict, MeshError, NotFound, TooMany, Unavailable


class Refusal(Exception):
    """An answer that names what is wrong with a request."""

    def __init__(self, code: str, message: str, retry_after_s: int = 0) -> None:
        """`code`: one of `STATUS`. `retry_after_s` 0: trying again at another time changes nothing."""
        super().__init__(message)
        self.code, self.message, self.retry_after_s = code, message, retry_after_s
        self.number, self.status = STATUS[code]


MISSING: Final = "MissingParameter"
INVALID: Final = "InvalidParameter"
NAME_TAKEN: Final = "InvalidParameter.TaskAlreadyExists"
NO_SUCH_TASK: Final = "InvalidParameter.ErrorActiveTaskNotFound"
TOO_MANY: Final = "FlowLimitExceeded"
LATE: Final = "InternalServiceTimeout"
INTERNAL: Final = "InternalError"
_BUSINESS_CODE_NUMBER: Final = 400
"""The vendor publishes no numbers of these; it is that of `Result.Code`."""

STATUS: Final = {
    MISSING: (100002, 400),
    "MissingAuthenticationToken": (100003, 401),
    "MissingRequestInfo": (100004, 400),
    "MissingSignature": (100005, 401),
    "InvalidTimestamp": (100006, 400),
    "ServiceNotFound": (100007, 404),
    "InvalidActionOrVersion": (100008, 404),
    "InvalidAccessKey": (100009, 401),
    "SignatureDoesNotMatch": (100010, 401),
    "AccessDenied": (100013, 403),
    INTERNAL: (100014, 500),
    "FailToConnect": (100015, 502),
    LATE: (100016, 504),
    TOO_MANY: (100018, 429),
    "MethodNotAllowed": (100020, 405),
    "InvalidAuthorization": (100024, 400),
    "InvalidCredential": (100025, 400),
    "InvalidSecretToken": (100026, 401),
    # What the actions themselves refuse; the vendor's own list has no codes for that.
    INVALID: (_BUSINESS_CODE_NUMBER, 400),
    NAME_TAKEN: (_BUSINESS_CODE_NUMBER, 400),
    NO_SUCH_TASK: (_BUSINESS_CODE_NUMBER, 400),
    # What only HTTP knows.
    "RequestTimeout": (408, 408),
    "RequestTooLarge": (413, 413),
    "UnsupportedEncoding": (415, 415),
    "ExpectationFailed": (417, 417),
}
"""CodeN and HTTP status by Code, as the vendor's list of common errors has them."""

_COME_BACK_SECONDS: Final = 5


def refusal_of(error: MeshError, *, creating: bool) -> Refusal:
    """What an error of the mesh is here; what only concerns whoever runs it stays in the log."""
    if isinstance(error, Conflict):
        return Refusal(NAME_TAKEN if creating else NO_SUCH_TASK, error.message)
    if isinstance(error, NotFound):
        return Refusal(NO_SUCH_TASK, error.message)
    if isinstance(error, TooMany):
        return Refusal(TOO_MANY, error.message, _COME_BACK_SECONDS)
    if isinstance(error, Unavailable):
        return Refusal("FailToConnect", "a part of this service does not answer just now; try again")
    if error.code == 400:
        return Refusal(INVALID, error.message)
    return internal()


def internal() -> Refusal:
    return Refusal(INTERNAL, "something went wrong in here; give the RequestId to whoever runs this service")
