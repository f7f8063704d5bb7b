"""What a client is told when it gets another layer of a stream."""

from collections.abc import Sequence
from datetime import UTC, datetime

from services.webrtc_gateway.sora.downlinks import Source
from services.webrtc_gateway.sora.messages import SimulcastSwitched
from services.webrtc_gateway.sora.wishes import RIDS, Rid, WantedRid


def switched_message(
    source: Source, wanted: WantedRid | None, there: Sequence[Rid], before: str, after: str
) -> SimulcastSwitched | None:
    """`before`, `after`: renditions; any that is no layer stands for the best one. None: it is no move among layers."""
    if not there:
        return None
    best = there[-1]
    previous, current = (next((rid for rid in RIDS if rid == name), best) for name in (before, after))
    if previous == current:
        return None
    requested = wanted if wanted is not None and wanted != "none" else best
    return SimulcastSwitched(
        timestamp=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        sender_connection_id=source.key if source.published else None,
        priority="higher" if RIDS.index(current) > RIDS.index(previous) else "lower",
        trigger="receiver" if current == requested else "sender",
        rpc_rids=tuple(there),
        auto_rids=tuple(there),
        request_rid=requested,
        current_rid=current,
        previous_rid=previous,
    )
