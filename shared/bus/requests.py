"""Asking: one request, one reply, and the errors of both."""

import re

import nats.errors
from nats.aio.client import Client

from schemas.errors import InvalidValue, Unavailable, error_from_code

_REQUEST_SUBJECT = re.compile(r"[^\s.*>]+(\.[^\s.*>]+)*")


async def ask(client: Client, subject: str, data: bytes, timeout_seconds: float) -> bytes:
    """Send a request; returns the reply's bytes.

    Raises:
        InvalidValue: `subject` is none that can be asked.
        MeshError: the answering service's own typed error, with the reply's body, if any, in its `reply`;
            `Unavailable` when nobody answers.
    """
    if not _REQUEST_SUBJECT.fullmatch(subject):
        raise InvalidValue("subject", subject, "give words joined by dots, for example capture.start")
    try:
        message = await client.request(subject, data, timeout=timeout_seconds)
    except nats.errors.NoRespondersError:
        raise Unavailable(f"nobody answers {subject}: is that service running, and the name right?") from None
    except (nats.errors.Error, TimeoutError) as error:
        raise Unavailable(f"no reply from {subject} within {timeout_seconds:g} s ({type(error).__name__})") from None
    headers = message.headers or {}
    code = headers.get("Nats-Service-Error-Code")
    if code is not None:
        answer = error_from_code(int(code) if code.isdigit() else 500, headers.get("Nats-Service-Error", code))
        answer.reply = message.data
        raise answer
    return bytes(message.data)
