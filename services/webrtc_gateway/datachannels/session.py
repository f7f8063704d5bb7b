"""The data channels of one session, and who uses each of them."""

from collections.abc import Callable, Sequence
from typing import Protocol

from services.webrtc_gateway.datachannels.channels import DataChannels
from services.webrtc_gateway.datachannels.counters import DataCounters
from services.webrtc_gateway.datachannels.gate import Rights
from services.webrtc_gateway.datachannels.latency_record import LatencyRecord
from services.webrtc_gateway.datachannels.rate import Rate
from services.webrtc_gateway.datachannels.section import DataSection


class LabelUser(Protocol):
    """What stands behind some labels, in every session: the bridges, the echo of latency."""

    def takes(self, session: "DataSession", label: str) -> bool:
        """Whether a channel that the session's peer opens is for this one."""
        ...

    def opened(self, session: "DataSession", label: str) -> None: ...

    def message(self, session: "DataSession", label: str, data: bytes | str) -> None: ...

    def closed(self, session: "DataSession", label: str) -> None: ...


class DataSession:
    """Made for a peer that offered data channels; ended with `close`."""

    def __init__(
        self,
        session: str,
        stream: str,
        section: DataSection,
        send: Callable[[bytes], None],
        rights: Rights,
        users: Sequence[LabelUser],
        counters: DataCounters,
        all_cpu: Rate,
    ) -> None:
        """`send` takes one record of application data; `all_cpu` is what every session together may use."""
        self.session, self.stream, self.rights = session, stream, rights
        self.latency = LatencyRecord()
        self.channels = DataChannels(section, send, self, counters, all_cpu)
        self._users = users
        self._user_of: dict[str, LabelUser] = {}

    def start(self) -> None:
        """The DTLS handshake is done."""
        self.channels.start()

    def receive(self, record: bytes) -> None:
        """Take one record of application data of the peer's."""
        self.channels.receive(record)

    def close(self) -> None:
        self.channels.close()

    def channel_offered(self, label: str) -> bool:
        user = next((user for user in self._users if user.takes(self, label)), None)
        if user is not None:
            self._user_of[label] = user
        return user is not None

    def channel_opened(self, label: str) -> None:
        if (user := self._user_of.get(label)) is not None:
            user.opened(self, label)

    def channel_message(self, label: str, data: bytes | str) -> None:
        if (user := self._user_of.get(label)) is not None:
            user.message(self, label, data)

    def channel_closed(self, label: str) -> None:
        if (user := self._user_of.pop(label, None)) is not None:
            user.closed(self, label)
