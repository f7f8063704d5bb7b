"""Telling a program beside this one how the work goes: JSON by HTTP POST to FRAMEMESH_SMARTVISION_SVE_URL."""

import http.client
import os
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from schemas.errors import InvalidValue, Unavailable
from shared.clients.smartvision.connection import answers, minus_one
from shared.clients.smartvision.enums import SPhase
from shared.urls import redact

URL_VARIABLE: Final = "FRAMEMESH_SMARTVISION_SVE_URL"
_TIMEOUT_SECONDS: Final = 5.0  # a program on the same host answers in milliseconds


@answers(minus_one)
def notify_sve(phase_enum: SPhase | int) -> int:
    """Tell the phase of the task: `{"type": "phase", "phase": 2, "name": "RUNNING"}`.

    Returns:
        0: taken, with a status of 200 to 299; -1: not, or FRAMEMESH_SMARTVISION_SVE_URL is not set.
    """
    try:
        phase = SPhase(phase_enum)
    except ValueError:
        raise InvalidValue("phase_enum", phase_enum, "use one of SPhase") from None
    return _post({"type": "phase", "phase": phase.value, "name": phase.name})


@answers(minus_one)
def save_result(
    release_id: str,
    release_version: str,
    origin_file: str,
    mask_file: str,
    final_file: str,
    additional: str = "",
) -> int:
    """Tell the files of a result: `{"type": "result", "release_id": …}` with the arguments by their names.

    Returns:
        0: taken, with a status of 200 to 299; -1: not, or FRAMEMESH_SMARTVISION_SVE_URL is not set.
    """
    return _post(
        {
            "type": "result",
            "release_id": release_id,
            "release_version": release_version,
            "origin_file": origin_file,
            "mask_file": mask_file,
            "final_file": final_file,
            "additional": additional,
        }
    )


def _post(body: dict[str, Any]) -> int:
    """Raises: InvalidValue: no such URL. Unavailable: nobody there takes it; redirects are not followed."""
    text = os.environ.get(URL_VARIABLE, "")
    shown = redact(text)[0]
    try:
        url = urlsplit(text)
        kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        connection = kinds[url.scheme](url.hostname or "", url.port, timeout=_TIMEOUT_SECONDS)
    except (ValueError, KeyError):
        raise InvalidValue(URL_VARIABLE, shown, "set it to http://host:port/path") from None
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    try:
        connection.request("POST", path, msgspec.json.encode(body), {"Content-Type": "application/json"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"{shown}: {error or type(error).__name__}") from None
    finally:
        connection.close()
    if not 200 <= status < 300:  # RFC 9110, 15.3: successful
        raise Unavailable(f"{shown} answers with status {status}")
    return 0
