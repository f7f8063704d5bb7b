"""What a gateway tells capture of the publisher of a whip:// stream, beside its packets."""

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
