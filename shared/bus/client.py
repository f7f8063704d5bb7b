"""nats-py's client, which goes on reading whatever a message is called and whatever stands in its headers."""

from nats.aio.client import Client
from nats.aio.msg import Msg

from shared.bus.arrivals import ArrivedMsg


class ReadingClient(Client):
    """A name that is not UTF-8, or headers that are none, end nats-py's reading: whoever may send one message would
    take the bus from everybody who gets it, for as long as a silent server is waited for.

    Such a message is told of too: a watch that misses one begins again, and finds it again.
    """

    async def _process_headers(self, headers: bytes) -> dict[str, str] | None:
        try:
            return await super()._process_headers(headers)
        except (ValueError, IndexError):
            return None

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Msg:
        return ArrivedMsg(
            _client=self,
            subject=subject.decode(errors="replace"),
            reply=reply.decode(errors="replace"),
            data=data,
            headers=headers,
            _sid=sid,
        )
