"""Messages between the clients of a channel: what one says on a label, the others of that label hear."""

from typing import Protocol

from services.webrtc_gateway.sora.labels import Label
from services.webrtc_gateway.sora.letter import Letter


class Hearer(Protocol):
    """One connection's side."""

    @property
    def id(self) -> str: ...

    def hand(self, label: Label, letter: Letter) -> None:
        """Send the client a message; one that cannot be sent is dropped and counted."""
        ...


class Messaging:
    """All labels of all channels of one gateway."""

    def __init__(self) -> None:
        self._hearers: dict[tuple[str, str], dict[str, tuple[Hearer, Label]]] = {}
        """By channel and label, then by connection_id."""

    def join(self, channel: str, label: Label, hearer: Hearer) -> None:
        """Its data channel is open."""
        if label.receives:
            self._hearers.setdefault((channel, label.label), {})[hearer.id] = hearer, label

    def leave(self, channel: str, label: Label, hearer: Hearer) -> None:
        key = channel, label.label
        hearers = self._hearers.get(key, {})
        hearers.pop(hearer.id, None)
        if not hearers:
            self._hearers.pop(key, None)

    def broadcast(self, channel: str, label: str, letter: Letter) -> None:
        """To everybody but its sender."""
        for hearer, wanted in tuple(self._hearers.get((channel, label), {}).values()):
            if hearer.id != letter.sender:
                hearer.hand(wanted, letter)
