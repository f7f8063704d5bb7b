"""One message of a label on its way to the others of its channel: made ready once for all who want it alike."""

from functools import cached_property

from services.webrtc_gateway.sora.deflate import deflate
from services.webrtc_gateway.sora.labels import Label


class Letter:
    """From the connection `sender`."""

    def __init__(self, sender: str, data: bytes) -> None:
        self.sender, self.data = sender, data

    def to(self, label: Label) -> bytes:
        """As whoever opened `label` wants it: with the sender before it, deflated, or as it is."""
        if label.compress:
            return self._headed_deflated if label.header else self._deflated
        return self._headed if label.header else self.data

    @cached_property
    def _headed(self) -> bytes:
        return self.sender.encode() + self.data

    @cached_property
    def _deflated(self) -> bytes:
        return deflate(self.data)

    @cached_property
    def _headed_deflated(self) -> bytes:
        return deflate(self._headed)
