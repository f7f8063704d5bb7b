"""Every session's data channels in this process: what they share."""

from collections.abc import Callable

from services.webrtc_gateway.datachannels.channels import ChannelUser, DataChannels
from services.webrtc_gateway.datachannels.counters import DataCounters
from services.webrtc_gateway.datachannels.gate import Rights
from services.webrtc_gateway.datachannels.latency import LatencyEchoes
from services.webrtc_gateway.datachannels.rate import Rate
from services.webrtc_gateway.datachannels.section import DataSection
from services.webrtc_gateway.datachannels.session import DataSession, LabelUser
from services.webrtc_gateway.egress.timings import Timings

# Pictures come first: SCTP of all sessions together may use this much of the one core that the gateway runs on.
_CPU_SHARE = 0.4
_CPU_BURST_SECONDS = 0.4


class DataPlane:
    """Makes the data channels of sessions; the label `latency` is there from the start."""

    def __init__(self, timings: Timings) -> None:
        self.counters = DataCounters()
        self._users: list[LabelUser] = [LatencyEchoes(timings, self.counters)]
        self._cpu = Rate(_CPU_SHARE, _CPU_BURST_SECONDS)

    def add_user(self, user: LabelUser) -> None:
        """Let `user` have the labels that it takes, where those before it do not."""
        self._users.append(user)

    def open(
        self, session: str, stream: str, section: DataSection, send: Callable[[bytes], None], rights: Rights
    ) -> DataSession:
        """The data channels of a session whose peer offered `section`; `send` takes one record for its DTLS."""
        return DataSession(session, stream, section, send, rights, self._users, self.counters, self._cpu)

    def channels(self, section: DataSection, send: Callable[[bytes], None], user: ChannelUser) -> DataChannels:
        """Channels that are all `user`'s, as those of Sora's clients."""
        return DataChannels(section, send, user, self.counters, self._cpu)
