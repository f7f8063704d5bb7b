"""SRT push: MPEG-TS to a listener."""

from services.publisher.outputs.ts_push import TsPush
from services.publisher.transport_options import srt_options


class SrtPush(TsPush):
    """Calls a receiver that listens, `srt://host:port?streamid=…&passphrase=…&latency=…`; latency in µs.

    What the network does not take within the latency is dropped by SRT itself and counted as `peer_slow`, in datagrams.
    """

    schemes = ("srt",)

    def _check_url(self) -> None:
        super()._check_url()
        srt_options(self._url, self._shown)
