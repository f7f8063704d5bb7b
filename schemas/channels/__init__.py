"""The channel table: every subject and key of the mesh, what it carries, who speaks and who listens.

The AsyncAPI document, the JSON Schemas, the bus permissions and the tables of the contract are generated from it, and
a test holds it against the endpoints of running services. Subjects are made by the builders of `schemas.subjects`,
with placeholder ids that become `{name}`. A new command of a service goes into the file of that service here.
"""

from typing import Any

from msgspec import Struct

from schemas.channel import Channel
from schemas.channels import (
    capture,
    cloud_mix_proxy,
    events,
    fleet,
    frame_extractor,
    hw_encode,
    io_signal,
    media,
    publisher,
    state,
    webrtc_gateway,
)
from schemas.channels.parties import LOOKERS, OBSERVERS, RUNNING_SERVICES

CHANNELS: tuple[Channel, ...] = (
    *media.MEDIA,
    *capture.COMMANDS,
    *hw_encode.COMMANDS,
    *publisher.COMMANDS,
    *webrtc_gateway.COMMANDS,
    *frame_extractor.COMMANDS,
    *cloud_mix_proxy.COMMANDS,
    *io_signal.COMMANDS,
    *fleet.COMMANDS,
    *events.EVENTS,
    *events.QUEUES,
    *state.STATE,
)


def message_types() -> tuple[type[Struct], ...]:
    """Every Struct that is a message of its own, in the order of the table."""
    found: dict[type[Any], None] = {}
    for item in CHANNELS:
        for kind in (item.payload, item.reply):
            if kind is not None:
                found[kind] = None
    return tuple(found)


__all__ = ["CHANNELS", "LOOKERS", "OBSERVERS", "RUNNING_SERVICES", "message_types"]
