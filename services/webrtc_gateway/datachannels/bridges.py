"""Carries messages between data channels and the bus, as they are, within each session's limits."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.webrtc_gateway.datachannels.bridge import Bridge
from services.webrtc_gateway.datachannels.counters import DataCounters
from services.webrtc_gateway.datachannels.gate import Gate, may_use
from services.webrtc_gateway.datachannels.rate import Rate
from services.webrtc_gateway.datachannels.session import DataSession
from services.webrtc_gateway.datachannels.topics import Topics
from shared.bus import Bus


@dataclass(frozen=True, slots=True)
class _Crossing:
    """One open channel of one session."""

    bridge: Bridge
    to_viewer: Rate
    from_viewer: Rate


class Bridges:
    """The user of every label that an operator has bridged."""

    def __init__(self, bus: Bus, bridges: Sequence[Bridge], counters: DataCounters, gate: Gate = may_use) -> None:
        self._bus, self._counters, self._gate = bus, counters, gate
        self._by_label = {bridge.label: bridge for bridge in bridges}
        self._topics = Topics(bus)
        self._crossings: dict[tuple[DataSession, str], _Crossing] = {}

    def takes(self, session: DataSession, label: str) -> bool:
        bridge = self._by_label.get(label)
        return bridge is not None and self._gate(session.rights, bridge)

    def opened(self, session: DataSession, label: str) -> None:
        bridge = self._by_label[label]
        crossing = _Crossing(bridge, _rate(bridge), _rate(bridge))
        self._crossings[session, label] = crossing
        if bridge.to_viewer:
            self._topics.join(
                bridge.subject_of(session.stream),
                crossing,
                lambda data: self._to_viewer(session, crossing, data),
            )

    def message(self, session: DataSession, label: str, data: bytes | str) -> None:
        crossing = self._crossings[session, label]
        bridge = crossing.bridge
        raw = data.encode() if isinstance(data, str) else data
        if not bridge.from_viewer:
            self._counters.dropped["not_allowed"] += 1
        elif len(raw) > bridge.message_bytes:
            self._counters.dropped["size_in"] += 1
        elif not crossing.from_viewer.take():
            self._counters.dropped["rate_in"] += 1
        else:
            self._bus.post(bridge.subject_of(session.stream), raw)

    def closed(self, session: DataSession, label: str) -> None:
        crossing = self._crossings.pop((session, label), None)
        if crossing is not None:
            self._topics.leave(crossing.bridge.subject_of(session.stream), crossing)

    async def close(self) -> None:
        await self._topics.close()

    def _to_viewer(self, session: DataSession, crossing: _Crossing, data: bytes) -> None:
        bridge = crossing.bridge
        if len(data) > bridge.message_bytes:
            self._counters.dropped["size_out"] += 1
        elif not crossing.to_viewer.take():
            self._counters.dropped["rate_out"] += 1
        else:
            session.channels.send(bridge.label, data if bridge.binary else _as_text(data))


def _rate(bridge: Bridge) -> Rate:
    """A second's worth at once; at least one, for bridges of less than one a second."""
    return Rate(bridge.per_second, max(1.0, bridge.per_second))


def _as_text(data: bytes) -> bytes | str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data
