"""Structured logs: one line per fact, with stream and frame sequence as fields, never a secret."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec

from schemas.errors import InvalidValue
from shared.cause import trace_id

_FIELDS = ("stream", "rendition", "output", "session", "sequence", "epoch")
_LEVELS = ("debug", "info", "warning", "error")


def setup_logging(service: str, wish: str) -> None:
    """Log to stderr as `FRAMEMESH_LOG` says: a level, `json`, or both with a comma.

    Raises:
        InvalidValue: neither a level nor `json`.
    """
    level, as_json = "info", False
    for word in wish.lower().split(","):
        if word == "json":
            as_json = True
        elif word in _LEVELS:
            level = word
        else:
            raise InvalidValue("FRAMEMESH_LOG", wish, f"use one of {', '.join(_LEVELS)}, json, or json,debug")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter(service) if as_json else _TextFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Libraries below us speak of their own business; ours is enough at info.
    for noisy in ("nats", "aioice", "aiortc", "aiohttp.access", "libav", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("libav").setLevel(logging.ERROR)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in _FIELDS if hasattr(record, name)}


class _TextFormatter(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        fields = " ".join(f"{name}={value}" for name, value in _fields(record).items())
        text = f"{at} {record.levelname.lower():7} {self._service}: {record.getMessage()}"
        if fields:
            text += f"  [{fields}]"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


class _JsonFormatter(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "message": record.getMessage(),
            **_fields(record),
        }
        if trace := trace_id():
            line["trace"] = trace
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()
