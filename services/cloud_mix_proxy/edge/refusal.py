"""What the API's gateway says no with: a code, its number, and the HTTP status."""

from typing import Final


class Refusal(Exception):
    """An answer that names what is wrong with a request."""

    def __init__(self, code: str, message: str) -> None:
        """`code`: one of `STATUS`."""
        super().__init__(message)
        self.code, self.message = code, message
        self.number, self.status = STATUS[code]


STATUS: Final = {
    "MissingParameter": (100002, 400),
    "MissingAuthenticationToken": (100003, 401),
    "MissingRequestInfo": (100004, 400),
    "MissingSignature": (100005, 401),
    "InvalidTimestamp": (100006, 400),
    "ServiceNotFound": (100007, 404),
    "InvalidActionOrVersion": (100008, 404),
    "InvalidAccessKey": (100009, 401),
    "SignatureDoesNotMatch": (100010, 401),
    "AccessDenied": (100013, 403),
    "InternalError": (100014, 500),
    "FailToConnect": (100015, 502),
    "InternalServiceTimeout": (100016, 504),
    "FlowLimitExceeded": (100018, 429),
    "MethodNotAllowed": (100020, 405),
    "InvalidAuthorization": (100024, 400),
    "InvalidCredential": (100025, 400),
    "InvalidSecretToken": (100026, 401),
}
"""CodeN and HTTP status by Code, as the vendor's list of common errors has them."""
