"""The command that lists who publishes, and how loud; of this gateway, and of all."""

import time

from msgspec.structs import replace

from schemas.layers import ListPublishers, PublisherInfo, PublisherList
from schemas.subjects import command
from services.webrtc_gateway.ingest.gateway import IngestGateway
from services.webrtc_gateway.ingest.publisher import Publisher
from shared.bus import Endpoint
from shared.gateways import SERVICE, Gateways

_SHOWN_ID_CHARACTERS = 8


class PublisherCommands:
    """Answers for the publishers of one gateway."""

    def __init__(self, ingest: IngestGateway, gateways: Gateways, node: str) -> None:
        self._ingest, self._gateways, self._node = ingest, gateways, node

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint(command(SERVICE, "publishers"), ListPublishers, PublisherList, self.list),
            Endpoint(command(SERVICE, "local-publishers", self._node), ListPublishers, PublisherList, self.list_here),
        ]

    async def list(self, request: ListPublishers) -> PublisherList:
        answers, unanswered = await self._gateways.ask_all("local-publishers", request, PublisherList)
        found = (replace(info, node=gateway.node) for gateway, listed in answers for info in listed.publishers)
        return PublisherList(publishers=tuple(found), unanswered=unanswered)

    async def list_here(self, request: ListPublishers) -> PublisherList:
        now_s = time.monotonic()
        found = [each for each in self._ingest.publishers if request.stream in (None, each.stream)]
        return PublisherList(publishers=tuple(publisher_info(each, now_s) for each in found))


def publisher_info(publisher: Publisher, now_s: float) -> PublisherInfo:
    """One line of the list; `now_s` in monotonic seconds."""
    voice = publisher.voice
    return PublisherInfo(
        session=publisher.session[:_SHOWN_ID_CHARACTERS],
        stream=publisher.stream,
        kind=publisher.kind,
        state=publisher.state,
        connected_ns=publisher.connected_ns,
        packets_received=publisher.packets,
        bytes_received=publisher.bytes,
        tracks=publisher.track_names,
        level_dbov=voice.level_dbov(now_s) if voice else None,
        speaking=voice is not None and voice.speaking,
    )
