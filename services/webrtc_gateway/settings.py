"""Settings of webrtc-gateway."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from schemas.ids import Id
from schemas.service_table import BY_NAME
from schemas.units import BitrateText
from services.webrtc_gateway.auth.settings import DoorSettings
from services.webrtc_gateway.datachannels.bridge import DEFAULT_SUBJECTS
from services.webrtc_gateway.egress.gateway import DEFAULT_MAX_SESSIONS
from services.webrtc_gateway.ingest.gateway import DEFAULT_MAX_PUBLISHERS
from services.webrtc_gateway.transport.ice_servers import DEFAULT_CREDENTIAL_SECONDS, IceServerUrl
from shared.settings import Port

Origin = Annotated[str, Meta(pattern=r"^(\*|null|https?://[^/\s]+/?)$", description="scheme://host[:port], or *")]
SignalingUrl = Annotated[
    str, Meta(pattern=r"^wss?://[^/\s@]+/\S*$(?!\n)", max_length=512, description="wss://host[:port]/signaling")
]


class GatewaySettings(DoorSettings, frozen=True, kw_only=True):
    http_port: Port = BY_NAME["webrtc-gateway"].http_port
    udp_port: Port = BY_NAME["webrtc-gateway"].udp_port
    """The one UDP port of every WebRTC session. Several gateways on one host have one each: see docs/egress.md."""
    tcp_port: Port | None = None
    """Where WebRTC comes over TCP, for networks that let no UDP out; none as it comes. May have UDP's number."""
    udp_segmentation: bool = True
    """Let the kernel cut a picture into datagrams (UDP GSO). Whether it can is found out by itself; off is for
    network drivers that say they can and do not, and for measuring."""
    webrtc_hosts: tuple[str, ...] = ()
    """Where viewers and publishers reach the ports of WebRTC; empty: every address of this machine (or `bind`, when
    that is one of them; with 127.0.0.1 all of them, for this machine's own programs). Addresses, names that are
    resolved at start, and `host:port` (`[2001:db8::7]:port`) where another port is forwarded to ours; see
    docs/networks.md."""
    ice_servers: tuple[IceServerUrl, ...] = ()
    """STUN and TURN servers told to viewers and publishers: `stun:host[:port]`, `turn:host[:port][?transport=tcp]`,
    `turns:host[:port]`; see docs/networks.md."""
    turn_username: str = ""
    turn_credential_file: Path | None = None
    """What all clients prove themselves with to the relays, together with `turn_username`."""
    turn_secret_file: Path | None = None
    """Instead of these: the secret that the relays know too (coturn's `static-auth-secret`), so that each client gets
    credentials of its own that end by themselves. Both files are read again when they change."""
    turn_credential_seconds: Annotated[int, Meta(ge=60, le=30 * 86_400)] = DEFAULT_CREDENTIAL_SECONDS
    cors_origins: tuple[Origin, ...] = ()
    """Web pages that may play and watch besides the gateway's own console, as `https://wall.example:8443`; `*`: any
    page that a browser near the gateway has open. The console itself is listed here where it is used at a public
    DNS name; see `origins`."""
    max_sessions: Annotated[int, Meta(ge=1, le=10_000)] = DEFAULT_MAX_SESSIONS
    max_publishers: Annotated[int, Meta(ge=1, le=1_000)] = DEFAULT_MAX_PUBLISHERS
    publish_bitrate: BitrateText = "8M"
    """The most that a publisher may send; browsers keep to it. 1080p60 of a browser's encoder needs less."""
    sora_redirects: tuple[SignalingUrl, ...] = ()
    """Where Sora clients are sent that find no room here: signalling URLs of other gateways, as clients reach them,
    `wss://other.example/signaling`; in turn. None is sent on twice."""
    bridges: tuple[str, ...] = ()
    """Labels of data channels that stand for subjects of the bus: `events <- mesh.v1.evt.>`,
    `chat <-> mesh.v1.evt.app.{stream}.chat 20/s 4k`; see `datachannels.bridge`."""
    bridge_subjects: tuple[str, ...] = DEFAULT_SUBJECTS
    """Subjects that bridges may use. What viewers may send to, besides an application's own events, is listed here
    too; commands only by patterns that begin with `mesh.v1.cmd.`."""
    show_addresses: bool = False
    """Show viewers' addresses in the list of sessions; they are personal data."""
    adapt: bool = True
    """Give viewers of `main` whose line is too thin for it a smaller rendition, and `main` again when it carries it."""
    smaller_rendition: Id = "low"
    """Its name. A rendition of that name that exists is taken as it is; else it is made when the first needs it."""
    smaller_edge: Annotated[float, Meta(ge=0.1, le=1)] = 0.5
    """Of `main`'s width and height."""
    smaller_bitrate: Annotated[float, Meta(ge=0.01, le=1)] = 0.25
    """Of `main`'s bitrate."""
