"""A label of data channels that stands for a subject of the bus, as an operator writes it.

`events <- mesh.v1.evt.>` (to viewers), `clicks -> mesh.v1.evt.app.{stream}.click 5/s 1k` (from them),
`chat <-> mesh.v1.evt.app.{stream}.chat` (both). `{stream}` stands for the session's stream. Data flows along the
arrow. Limits are each session's own, for each direction. `binary` at the end: never as text.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from schemas.errors import InvalidValue
from schemas.subjects import PREFIX
from schemas.units import parse_bytes
from services.webrtc_gateway.datachannels.limits import MAX_MESSAGE_BYTES

BRIDGES_SETTING = "FRAMEMESH_WEBRTC_GATEWAY_BRIDGES"
SUBJECTS_SETTING = "FRAMEMESH_WEBRTC_GATEWAY_BRIDGE_SUBJECTS"
DEFAULT_SUBJECTS = (f"{PREFIX}.evt.>",)
"""What happens in the mesh may be read; only what applications say may be written, see `_WRITABLE`."""
LATENCY_LABEL = "latency"  # pages report on it when they have shown a picture
RESERVED_LABELS = frozenset((LATENCY_LABEL,))

_DEFAULT_PER_SECOND = 50.0  # a pointer that moves; no page needs more, and each message costs about 0.2 ms
_DEFAULT_MESSAGE_BYTES = 16_000
_MAX_PER_SECOND = 10_000.0
# A page must not be taken for a service: of events it may send an application's own.
_WRITABLE = f"{PREFIX}.evt.app.>"
_COMMANDS = f"{PREFIX}.cmd.>"
_STREAM = "{stream}"
_SPEC = re.compile(
    r"^(?P<label>\S+)\s+(?P<arrow><-|->|<->)\s+(?P<subject>\S+)"
    r"(?:\s+(?P<rate>\d+(?:\.\d+)?)/s)?(?:\s+(?P<bytes>\d+(?:\.\d+)?[kKmM]?))?(?P<binary>\s+binary)?$"
)
_LABEL = re.compile(r"^[A-Za-z0-9#_.:-]{1,64}$")
_PART = re.compile(r"^(?:[A-Za-z0-9_-]|\{stream\})+$")
_FIX = "write LABEL <- SUBJECT, LABEL -> SUBJECT or LABEL <-> SUBJECT, then limits: 20/s 4k; for example"
_EXAMPLE = "chat <-> mesh.v1.evt.app.{stream}.chat 20/s 4k"


@dataclass(frozen=True, slots=True)
class Bridge:
    """One label and its subject."""

    label: str
    subject: str
    """With `{stream}` in it, or wildcards where viewers only listen."""
    to_viewer: bool
    from_viewer: bool
    per_second: float = _DEFAULT_PER_SECOND
    """Messages of one session in one direction."""
    message_bytes: int = _DEFAULT_MESSAGE_BYTES
    binary: bool = False
    """Pages get every message as bytes; else what is UTF-8 comes as text."""

    @property
    def of_one_stream(self) -> bool:
        """Whether sessions meet those of their own stream only."""
        return _STREAM in self.subject

    def subject_of(self, stream: str) -> str:
        """Of a session of `stream`, which is an id and so one safe token."""
        return self.subject.replace(_STREAM, stream)


def parse_bridges(texts: Sequence[str], subjects: Sequence[str] = DEFAULT_SUBJECTS) -> tuple[Bridge, ...]:
    """Read the bridges of the settings; `subjects` are those that bridges may use.

    Raises:
        InvalidValue: one is not written so, or may not be; or two have one label.
    """
    for subject in subjects:
        _check_subject(SUBJECTS_SETTING, subject, subject)
    bridges: dict[str, Bridge] = {}
    for text in texts:
        bridge = _parse(text)
        if bridge.label in bridges:
            raise InvalidValue(BRIDGES_SETTING, text, f"the label {bridge.label} is there already; use each once")
        _check_allowed(bridge, text, subjects)
        bridges[bridge.label] = bridge
    return tuple(bridges.values())


def covers(pattern: str, subject: str) -> bool:
    """Whether everything that `subject` stands for is among what `pattern` stands for."""
    theirs = subject.split(".")
    ours = pattern.split(".")
    for index, part in enumerate(ours):
        if part == ">":
            return len(theirs) > index
        if index >= len(theirs) or theirs[index] == ">" or (part != "*" and part != theirs[index]):
            return False
    return len(ours) == len(theirs)


def overlaps(one: str, other: str) -> bool:
    """Whether some subject is among what both stand for."""
    ones, others = one.split("."), other.split(".")
    for left, right in zip(ones, others, strict=False):
        if ">" in (left, right):
            return True
        if left != right and "*" not in (left, right) and _STREAM not in left + right:
            return False
    return len(ones) == len(others)


def _parse(text: str) -> Bridge:
    match = _SPEC.match(text)
    if match is None:
        raise InvalidValue(BRIDGES_SETTING, text, f"{_FIX} {_EXAMPLE}")
    label, arrow, subject = match["label"], match["arrow"], match["subject"]
    if not _LABEL.match(label):
        raise InvalidValue(BRIDGES_SETTING, text, "a label has 1 to 64 letters, digits and # _ . : -")
    if label in RESERVED_LABELS:
        raise InvalidValue(BRIDGES_SETTING, text, f"the label {label} is the gateway's own; take another")
    _check_subject(BRIDGES_SETTING, text, subject)
    from_viewer = arrow in ("->", "<->")
    if from_viewer and ("*" in subject or ">" in subject):
        raise InvalidValue(BRIDGES_SETTING, text, "what viewers send needs one subject, without * and >")
    per_second = float(match["rate"]) if match["rate"] else _DEFAULT_PER_SECOND
    if not 0 < per_second <= _MAX_PER_SECOND:
        raise InvalidValue(BRIDGES_SETTING, text, f"the rate must be above 0/s and at most {_MAX_PER_SECOND:.0f}/s")
    message_bytes = parse_bytes(match["bytes"], BRIDGES_SETTING) if match["bytes"] else _DEFAULT_MESSAGE_BYTES
    if message_bytes > MAX_MESSAGE_BYTES:
        raise InvalidValue(BRIDGES_SETTING, text, f"a message has at most {MAX_MESSAGE_BYTES} bytes")
    return Bridge(label, subject, arrow != "->", from_viewer, per_second, message_bytes, match["binary"] is not None)


def _check_subject(setting: str, text: str, subject: str) -> None:
    parts = subject.split(".")
    for index, part in enumerate(parts):
        if part == "*" or (part == ">" and index == len(parts) - 1):
            continue
        if not _PART.match(part):
            raise InvalidValue(setting, text, f"{subject} is no subject; write names of a-z, 0-9, _ and - with dots")
    # Replies to others' requests, state, secrets and the server's own matters start with _ and $.
    if parts[0] in ("*", ">") or parts[0].startswith(("_", _STREAM)):
        raise InvalidValue(setting, text, "a subject starts with a name, such as mesh or plant")


def _check_allowed(bridge: Bridge, text: str, subjects: Sequence[str]) -> None:
    subject = bridge.subject
    listed = [pattern for pattern in subjects if covers(pattern, subject)]
    if overlaps(subject, _COMMANDS):
        # Never by a wide pattern's accident: commands carry credentials, and change what cameras do.
        listed = [pattern for pattern in listed if pattern.startswith(_COMMANDS.removesuffix(">"))]
    elif bridge.from_viewer and overlaps(subject, f"{PREFIX}.>") and not covers(_WRITABLE, subject):
        listed = [pattern for pattern in listed if pattern not in DEFAULT_SUBJECTS]
    if not listed:
        may = "written" if bridge.from_viewer else "read"
        raise InvalidValue(
            BRIDGES_SETTING, text, f"{subject} may not be {may} by viewers; to allow it, list it in {SUBJECTS_SETTING}"
        )
