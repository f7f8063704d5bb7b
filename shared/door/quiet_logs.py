"""What the HTTP library would write to the log of requests, and must not: their headers can hold tokens."""

import logging

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import RequestPayloadError


def keep_tokens_out() -> None:
    """Tell of malformed requests without what was in them, and not of WebSocket protocols that nobody here knows."""
    server = logging.getLogger("aiohttp.server")
    if not any(isinstance(kept, _WithoutContent) for kept in server.filters):
        server.addFilter(_WithoutContent())
    logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)


class _WithoutContent(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        # Bodies that are not what their headers say; headers that are no text, said again by the library itself.
        if isinstance(error, HttpProcessingError | RequestPayloadError | UnicodeEncodeError):
            record.exc_info = record.exc_text = None
            record.levelno, record.levelname = logging.INFO, "INFO"
            answer = f", answered with {error.code}" if isinstance(error, HttpProcessingError) else ""
            record.msg, record.args = f"malformed request{answer}", None
        return True
