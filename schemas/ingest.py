"""What a gateway tells of the publisher of a whip:// stream: capture, beside its packets, and other gateways."""

from msgspec import Struct

from schemas.frames import NonNegativeInt
from schemas.ids import Id
from schemas.packets import Track


class IngestSession(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A publisher is there, told when it begins and once a second from then on; or it has left.

    Its packets carry the same `run`; of two publishers the one with the higher run is the newer.
    """

    stream: Id
    run: NonNegativeInt
    tracks: tuple[Track, ...]
    """What it sends: `video`, `opus` or both."""
    layers: tuple[Id, ...] = ()
    """Renditions that its pictures come in, the same in each (simulcast): `r0`, `r1`; empty: in one, `source`."""
    ended: str = ""
    """Why it is no longer there; empty while it is."""


class PublishClaim(Struct, frozen=True, kw_only=True):
    """The gateway that publishes the stream of the key, or is taking it away; no other may meanwhile."""

    node: Id
    gateway: str
    """Its instance: another one after each start."""


class GiveWay(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """webrtc-gateway.<node>.give-way: let another gateway publish the stream, unless its publisher is at work."""

    stream: Id


class GaveWay(Struct, frozen=True, kw_only=True):
    stream: Id
