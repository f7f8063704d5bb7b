"""Addresses with credentials in them: the spec holds what may be shown, the secret store the rest."""

from typing import TYPE_CHECKING

import msgspec

from schemas.errors import InvalidValue
from schemas.mix_resources import MixSpec
from shared.secret_store import SecretField, keep_secret, read_secret
from shared.urls import MASK, redact

if TYPE_CHECKING:
    from shared.bus import Bus

SERVICE = "cloud-mix-proxy"
Addresses = dict[str, str]
"""By place in a spec: `input cam0`, `logo 0`."""


class MixSecrets(SecretField[MixSpec]):
    """All addresses of a mix that have credentials, in one secret."""

    def __init__(self, bus: "Bus") -> None:
        super().__init__(bus, SERVICE, "sources")

    async def seal(self, resource: str, spec: MixSpec, before: MixSpec | None) -> MixSpec:
        """`spec` as it may be written and shown.

        An address that is still as it was shown keeps the credentials that it had: who moves a box reads a mix, and
        gives it back.

        Raises:
            InvalidValue: credentials are left out of an address that is new.
        """
        known = await full_addresses(self._bus, before) if before is not None else {}
        shown_before = _addresses(before) if before is not None else {}
        secret: Addresses = {}
        for place, given in _addresses(spec).items():
            if shown_before.get(place) == given and place in known:
                secret[place] = known[place]
                continue
            if MASK in given:
                raise InvalidValue(f"{place}: source", given, "write the full address where it is a new one")
            if redact(given)[1]:
                secret[place] = given
        reference = ""
        if secret:
            value = msgspec.json.encode(secret, order="sorted").decode()
            in_use = before.sources_secret if before is not None else ""
            reference = await keep_secret(self._bus, SERVICE, resource, value, in_use)
        sealed = with_addresses(spec, {place: redact(url)[0] for place, url in _addresses(spec).items()})
        return msgspec.structs.replace(sealed, sources_secret=reference)


async def full_addresses(bus: "Bus", spec: MixSpec) -> Addresses:
    """Those that had to be hidden.

    Raises:
        NotFound: the secret was removed.
        Unavailable: the bus does not answer.
    """
    if not spec.sources_secret:
        return {}
    return msgspec.json.decode(await read_secret(bus, spec.sources_secret), type=Addresses)


async def unsealed(bus: "Bus", spec: MixSpec) -> MixSpec:
    """The spec with all its addresses, for its owner alone. Raises as `full_addresses`."""
    return with_addresses(spec, await full_addresses(bus, spec))


def with_addresses(spec: MixSpec, addresses: Addresses) -> MixSpec:
    inputs = [
        msgspec.structs.replace(one, source=addresses.get(f"input {one.input}", one.source)) for one in spec.inputs
    ]
    logos = [
        msgspec.structs.replace(one, source=addresses.get(f"logo {number}", one.source))
        for number, one in enumerate(spec.logos)
    ]
    return msgspec.structs.replace(spec, inputs=tuple(inputs), logos=tuple(logos))


def _addresses(spec: MixSpec) -> Addresses:
    inputs = {f"input {one.input}": one.source for one in spec.inputs}
    return inputs | {f"logo {number}": logo.source for number, logo in enumerate(spec.logos)}
