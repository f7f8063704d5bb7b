"""Ask the service of this container or unit how it is: exit 0 where it is well, 1 where it is not, one line why.

python -m shared.healthcheck                     the service that FRAMEMESH_SERVICE names: does it live?
python -m shared.healthcheck capture             that one
python -m shared.healthcheck capture --ready     does it live, and is all of it there?

It starts every few seconds beside each service, so it does without what takes long to import.
"""

import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence

_DEADLINE_SECONDS = 3.0  # for all of it; Docker, Kubernetes and who waits at a keyboard give it more
_MAX_ANSWER_BYTES = 4096  # the reason of a service that is ill is one line
_OK = 200
_LOOPBACK_FOR = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  # asked, not listened on
_USAGE = "usage: python -m shared.healthcheck [SERVICE] [--ready]; SERVICE may be in FRAMEMESH_SERVICE"


class _Ill(Exception):
    """Why, in words for the one line."""


def main(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> int:
    """Print one line; 0: well, 1: not."""
    names = [argument for argument in arguments if not argument.startswith("-")]
    if len(names) > 1 or set(arguments) - set(names) - {"--ready"}:
        return _say(1, _USAGE)
    service = names[0] if names else environ.get("FRAMEMESH_SERVICE", "")
    if not service:
        return _say(1, _USAGE)
    ready = "--ready" in arguments
    try:
        host, port = _address(service, environ)
    except _Ill as ill:
        return _say(1, f"{service}: {ill}")
    if why := trouble(host, port, ready=ready):
        return _say(1, f"{service}: {why}")
    return _say(0, f"{service}: {'ready' if ready else 'well'}")


def trouble(host: str, port: int, *, ready: bool) -> str:
    """Why the service there is not well, or with `ready` not ready; empty: it is."""
    deadline = time.monotonic() + _DEADLINE_SECONDS
    try:
        for path in ("/healthz", "/readyz") if ready else ("/healthz",):
            status, text = _ask(host, port, path, deadline)
            if status != _OK:
                return text or f"{path} answers {status}"
    except _Ill as ill:
        return str(ill)
    return ""


def _address(service: str, environ: Mapping[str, str]) -> tuple[str, int]:
    """Where its metrics and health are. Raises: _Ill: no such service, or no such port."""
    own = f"FRAMEMESH_{service.upper().replace('-', '_')}_"
    bind = environ.get(f"{own}BIND") or environ.get("FRAMEMESH_BIND") or "127.0.0.1"
    for variable in (f"{own}METRICS_PORT", "FRAMEMESH_METRICS_PORT"):
        text = environ.get(variable, "").strip()
        if text and not text.isdecimal():
            raise _Ill(f"{variable} {text!r}: give a port")
        if text and int(text):
            return _LOOPBACK_FOR.get(bind, bind), int(text)
    from schemas.service_table import BY_NAME  # only here: it takes longer than all the rest

    if service not in BY_NAME:
        raise _Ill(f"no such service; there are {', '.join(BY_NAME)}")
    return _LOOPBACK_FOR.get(bind, bind), BY_NAME[service].metrics_port


def _ask(host: str, port: int, path: str, deadline: float) -> tuple[int, str]:
    """Status and text. Raises: _Ill: no answer, or none of HTTP."""
    data = b""
    try:
        with socket.create_connection((host, port), _left(deadline)) as connection:
            connection.settimeout(_left(deadline))
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
            while len(data) < _MAX_ANSWER_BYTES:
                connection.settimeout(_left(deadline))
                if not (part := connection.recv(_MAX_ANSWER_BYTES - len(data))):
                    break
                data += part
    except TimeoutError:
        raise _Ill(f"no answer from {host}:{port}{path} within {_DEADLINE_SECONDS:g} s") from None
    except (OSError, UnicodeError, OverflowError) as error:
        raise _Ill(f"{host}:{port}: {getattr(error, 'strerror', None) or error}") from None
    head, _, body = data.partition(b"\r\n\r\n")
    parts = head.split(maxsplit=2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/") or not parts[1].isdigit():
        raise _Ill(f"what listens at {host}:{port} does not speak HTTP")
    return int(parts[1]), " ".join(body.decode(errors="replace").split())


def _left(deadline: float) -> float:
    """Seconds until then. Raises: TimeoutError: there are none."""
    if (left := deadline - time.monotonic()) <= 0:
        raise TimeoutError
    return left


def _say(code: int, line: str) -> int:
    sys.stdout.write(line + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
