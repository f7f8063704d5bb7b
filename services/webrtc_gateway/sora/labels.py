"""The data channels of a connection, by label: those of signalling, and those of messages that the client asks for."""

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from schemas.errors import InvalidValue
from services.webrtc_gateway.datachannels.limits import ChannelLimits

SIGNALING, NOTIFY, PUSH, STATS = "signaling", "notify", "push", "stats"
OF_SIGNALLING = (SIGNALING, NOTIFY, PUSH, STATS)
HEADER_BYTES = 26
"""Of a message's header: the connection_id of who sent it."""
MAX_LABELS = ChannelLimits().channels - len(OF_SIGNALLING)
_FIELD = "data_channels"
_LABEL = re.compile(r"#[A-Za-z0-9#_.:-]{1,63}")  # as a bridge writes them
_PROTOCOL = re.compile(r"[ -~]{0,64}")
_SHOWN_CHARACTERS = 64
Uint16 = Annotated[int, Meta(ge=0, le=65_535)]
"""RFC 8832 has more room, browsers have not."""


class HeaderField(Struct, frozen=True):
    type: Literal["sender_connection_id"]


class Label(Struct, frozen=True):
    """One data channel, as it is asked for; `direction` is the client's."""

    label: str
    direction: Literal["sendonly", "recvonly", "sendrecv"]
    ordered: bool | None = True
    max_packet_life_time: Uint16 | None = None
    """ms."""
    max_retransmits: Uint16 | None = None
    protocol: str | None = ""
    compress: bool | None = False
    header: tuple[HeaderField, ...] | None = ()

    @property
    def sends(self) -> bool:
        return self.direction != "recvonly"

    @property
    def receives(self) -> bool:
        return self.direction != "sendonly"


class AnnouncedHeader(Struct, frozen=True):
    type: str = "sender_connection_id"
    length: int = HEADER_BYTES


class Announced(Struct, frozen=True):
    """One data channel, as the offer tells of it; clients end their process without `compress`."""

    label: str
    direction: str
    compress: bool
    header: tuple[AnnouncedHeader, ...] | UnsetType = UNSET


# A packet of SCTP costs more than deflating ten of them: descriptions and statistics are long, and shrink to a fifth.
SIGNALLING_LABELS = (
    Label(SIGNALING, "sendrecv", compress=True),
    Label(NOTIFY, "recvonly", compress=True),
    Label(PUSH, "recvonly", compress=True),
    Label(STATS, "sendrecv", compress=True),
)


def read_labels(asked: Any) -> tuple[Label, ...]:
    """The client's own labels.

    Raises:
        InvalidValue: one is not written so, or they are too many, or two are the same.
    """
    if asked is None:
        return ()
    if isinstance(asked, list) and len(asked) > MAX_LABELS:
        raise InvalidValue(_FIELD, len(asked), f"at most {MAX_LABELS} labels")
    try:
        labels = msgspec.convert(asked, tuple[Label, ...])
    except msgspec.ValidationError as error:
        raise InvalidValue(_FIELD, type(asked).__name__, f"give a list of labels and directions: {error}") from None
    for label in labels:
        if not _LABEL.fullmatch(label.label):
            raise InvalidValue(
                _FIELD, label.label[:_SHOWN_CHARACTERS], "a label is # and 1-63 letters, digits, # _ . : or -"
            )
        if label.max_packet_life_time is not None and label.max_retransmits is not None:
            raise InvalidValue(_FIELD, label.label, "give max_packet_life_time or max_retransmits, not both")
        if not _PROTOCOL.fullmatch(label.protocol or ""):
            raise InvalidValue(_FIELD, label.label, "a protocol is 0-64 printable ASCII characters")
    if len({label.label for label in labels}) < len(labels):
        raise InvalidValue(_FIELD, labels[0].label, "each label once")
    return labels


def announce(label: Label) -> Announced:
    header = (AnnouncedHeader(),) if label.header else UNSET
    return Announced(label.label, label.direction, bool(label.compress), header)
