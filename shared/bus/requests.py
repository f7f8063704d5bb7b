"""Asking: one request, one reply, and the errors of both."""

import re

import nats.errors
from nats.aio.client import Client

from schemas.errors import BadRequest, Forbidden, InvalidValue, Unavailable, error_from_code
from shared.bus.refusals import NotAllowed
from shared.cause import current

_REQUEST_SUBJECT = re.compile(r"[^\s.*>]+(\.[^\s.*>]+)*")


class NobodyAnswers(Unavailable):
    """Nobody has subscribed to what was asked."""


async def ask(client: Client, subject: str, data: bytes, timeout_seconds: float) -> bytes:
    """Send a request, of the story that runs here, where there is one; returns the reply's bytes.

    Raises:
        InvalidValue: `subject` is none that can be asked.
        BadRequest: more than a message may have.
        Forbidden: the server does not let this party ask that.
        MeshError: the answering service's own typed error, with the reply's body, if any, in its `reply`;
            `Unavailable` when nobody answers.
    """
    if not _REQUEST_SUBJECT.fullmatch(subject):
        raise InvalidValue("subject", subject, "give words joined by dots, for example capture.start")
    try:
        cause = current()
        headers = cause.headers() if cause is not None else None
        message = await client.request(subject, data, timeout=timeout_seconds, headers=headers)
    except nats.errors.NoRespondersError:
        raise NobodyAnswers(f"nobody answers {subject}: is that service running, and the name right?") from None
    except NotAllowed as error:
        raise Forbidden(f"{error}; see who may in ops/nats/permissions.md") from None
    except nats.errors.MaxPayloadError:
        raise BadRequest(
            f"{len(data)} bytes for {subject} are more than the bus takes in one message "
            f"({client.max_payload}, max_payload of the server); send less at once"
        ) from None
    except (nats.errors.Error, TimeoutError) as error:
        raise Unavailable(f"no reply from {subject} within {timeout_seconds:g} s ({type(error).__name__})") from None
    headers = message.headers or {}
    code = headers.get("Nats-Service-Error-Code")
    if code is not None:
        answer = error_from_code(int(code) if code.isdigit() else 500, headers.get("Nats-Service-Error", code))
        answer.reply = message.data
        raise answer
    return bytes(message.data)
