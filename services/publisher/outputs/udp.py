"""MPEG-TS over UDP, to a host or to a group; nobody answers, so it runs as soon as packets are out."""

from services.publisher.outputs.ts_push import TsPush
from services.publisher.transport_options import udp_options


class UdpPush(TsPush):
    """Sends datagrams of `pkt_size` bytes, `udp://host:port?pkt_size=1316&ttl=1&localaddr=…`."""

    schemes = ("udp",)

    def _check_url(self) -> None:
        super()._check_url()
        udp_options(self._url, self._shown)
