"""Commands of mixes."""

from msgspec import Struct

from schemas.commands import DEFAULT_WAIT_SECONDS, Changed, WaitSeconds
from schemas.ids import Id
from schemas.mix_resources import MixActual, MixEntry, MixSpec


class CreateMix(MixSpec, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """cloud-mix-proxy.create: make a mix, which must not be there yet."""

    wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS


class UpdateMix(MixSpec, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """cloud-mix-proxy.update: another layout, other inputs, logos or texts, between two pictures.

    The whole spec is replaced; of `size`, `fps` and `channels` those who watch see another stream begin.
    """

    revision: int | None = None
    """Expected current revision; a different one is answered with 409."""
    wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS


class DeleteMix(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """cloud-mix-proxy.delete: end a mix; the streams that were made for it go too."""

    mix: Id
    revision: int | None = None
    wait_s: WaitSeconds = DEFAULT_WAIT_SECONDS


class GetMix(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """cloud-mix-proxy.get"""

    mix: Id


class ListMixes(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """cloud-mix-proxy.list"""


class MixChanged(Changed, frozen=True, kw_only=True):
    actual: MixActual | None = None


class MixList(Struct, frozen=True, kw_only=True):
    mixes: tuple[MixEntry, ...]
