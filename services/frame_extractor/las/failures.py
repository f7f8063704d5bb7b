"""The error table of the API: business code, HTTP status and message of everything that goes wrong."""

from typing import Final, NamedTuple

from schemas.errors import MeshError
from schemas.extraction import FailureKind


class Failure(NamedTuple):
    """A row of the table."""

    http: int
    business_code: str
    message: str


PARAMETER_INVALID: Final = Failure(400, "Parameter.Invalid", "invalid parameter")
PARAMETER_MISSING: Final = Failure(400, "Parameter.Missing", "Missing required parameter")
URL_INVALID: Final = Failure(400, "Url.Invalid", "invalid url")
VIDEO_INVALID: Final = Failure(400, "Video.Invalid", "invalid video file")
DOWNLOAD_FAILED: Final = Failure(400, "Video.DownloadFailed", "Video download failed")
FORMAT_UNSUPPORTED: Final = Failure(400, "Video.FormatUnsupported", "Video format not supported")
VIDEO_TIMEOUT: Final = Failure(400, "Video.Timeout", "Video processing timeout")
EXTRACTION_FAILED: Final = Failure(400, "Video.FrameExtractionFailed", "Video frame extraction failed")
TOS_FAILED: Final = Failure(400, "Tos.AccessFailed", "Failed to access TOS path with provided credentials")
TASK_NOT_FOUND: Final = Failure(400, "Task.NotFound", "Task not found")
AUTHORIZATION_MISSING: Final = Failure(401, "Authorization.Missing", "Missing Authorization")
API_KEY_INVALID: Final = Failure(401, "ApiKey.InValid", "The api key is invalid")
INTERNAL: Final = Failure(500, "Internal.ServerError", "Internal server error")

# What the document's table lacks: its limits on how often one may come, and what only HTTP knows.
RATE_LIMIT: Final = Failure(429, "RateLimit.Exceeded", "Too many requests")
TOO_LARGE: Final = Failure(413, "Parameter.Invalid", "invalid parameter")
TOO_SLOW: Final = Failure(408, "Request.Timeout", "Request timeout")
ENCODED: Final = Failure(415, "Parameter.Invalid", "invalid parameter")
NO_SUCH_PATH: Final = Failure(404, "Path.NotFound", "Path not found")
NO_SUCH_METHOD: Final = Failure(405, "Method.NotAllowed", "Method not allowed")
EXPECTATION: Final = Failure(417, "Parameter.Invalid", "invalid parameter")
LINK_INVALID: Final = Failure(403, "Link.Invalid", "The link is invalid or has ended")
PICTURE_NOT_FOUND: Final = Failure(404, "Frame.NotFound", "Frame not found")

DOCUMENTED: Final = (
    PARAMETER_INVALID,
    PARAMETER_MISSING,
    URL_INVALID,
    VIDEO_INVALID,
    DOWNLOAD_FAILED,
    FORMAT_UNSUPPORTED,
    VIDEO_TIMEOUT,
    EXTRACTION_FAILED,
    TOS_FAILED,
    TASK_NOT_FOUND,
    AUTHORIZATION_MISSING,
    API_KEY_INVALID,
    INTERNAL,
)
"""The rows of the document, in its order."""

OF_KIND: Final[dict[FailureKind, Failure]] = {
    "": EXTRACTION_FAILED,  # canceled by whoever runs the mesh: there is no row for that
    "parameter": PARAMETER_INVALID,
    "url": URL_INVALID,
    "download": DOWNLOAD_FAILED,
    "format": FORMAT_UNSUPPORTED,
    "video": VIDEO_INVALID,
    "timeout": VIDEO_TIMEOUT,
    "extraction": EXTRACTION_FAILED,
    "storage": TOS_FAILED,
    "internal": INTERNAL,
}


class Refused(Exception):
    """A request that is answered with a row of the table and what exactly is wrong."""

    def __init__(self, failure: Failure, detail: str = "", retry_after_s: int = 0) -> None:
        self.failure, self.detail, self.retry_after_s = failure, detail, retry_after_s
        super().__init__(self.text)

    @property
    def text(self) -> str:
        """The message of the table, and behind it what exactly is wrong."""
        return f"{self.failure.message}: {self.detail}" if self.detail else self.failure.message


_OF_CODE: Final[dict[int, Failure]] = {400: PARAMETER_INVALID, 404: TASK_NOT_FOUND, 429: RATE_LIMIT}
_COME_BACK_SECONDS: Final = 5


def refusal_of(error: MeshError) -> Refused:
    """What an error of the mesh is here; what only concerns whoever runs it stays in the log."""
    failure = _OF_CODE.get(error.code, INTERNAL)
    if failure is INTERNAL:
        return Refused(INTERNAL)
    return Refused(failure, error.message, _COME_BACK_SECONDS if failure is RATE_LIMIT else 0)
