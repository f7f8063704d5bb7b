"""Voices of the mesh's streams whose packets do not tell how loud they are: capture hears them, and says so."""

import msgspec

from schemas.events import Event
from schemas.subjects import events_named
from services.webrtc_gateway.ingest.gateway import IngestGateway
from services.webrtc_gateway.sora.channels import Channels
from shared.bus import Bus, Message, Subscription

_SERVICE = "capture"
_EVENTS = {"voice-started": True, "voice-ended": False}


class MeshVoices:
    """Hands the mesh's events on to the channels."""

    def __init__(self, channels: Channels, ingest: IngestGateway) -> None:
        self._channels, self._ingest = channels, ingest
        self._subscriptions: list[Subscription] = []

    async def open(self, bus: Bus) -> None:
        for name in _EVENTS:
            self._subscriptions.append(await bus.subscribe(events_named(_SERVICE, name), self._take))

    async def close(self) -> None:
        for subscription in self._subscriptions:
            await subscription.close()

    def _take(self, message: Message) -> None:
        event = msgspec.json.decode(message.data, type=Event)
        own = any(each.stream == event.id and each.voice is not None for each in self._ingest.publishers)
        if not own and event.event in _EVENTS:  # who tells the level itself is heard sooner, and by one ear only
            self._channels.speaks(event.id, _EVENTS[event.event])
