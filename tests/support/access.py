"""What a process shows to the bus, as environment variables and back."""

import asyncio
from collections.abc import Mapping

import msgspec
import nats
from nats.aio.client import Client

from shared.bus_access import BusAccess


def access_environment(access: BusAccess, prefix: str = "FRAMEMESH_") -> dict[str, str]:
    """`prefix`: of one service, `FRAMEMESH_CAPTURE_`; else of all."""
    return {f"{prefix}NATS_{name.upper()}": path for name, path in msgspec.structs.asdict(access).items()}


def access_of(environment: Mapping[str, str]) -> BusAccess:
    names = BusAccess.__struct_fields__
    return BusAccess(**{name: environment.get(f"FRAMEMESH_NATS_{name.upper()}", "") for name in names})


async def plain_client(url: str, party: str, access: BusAccess, refused: asyncio.Queue[str] | None = None) -> Client:
    """A client of nats-py's own; what the server says it may not do is put into `refused`."""

    async def error(problem: Exception) -> None:
        if refused is not None:
            refused.put_nowait(str(problem))

    credentials = access.read_credentials()
    assert credentials is not None
    return await nats.connect(
        url,
        error_cb=error,
        inbox_prefix=f"_INBOX_{party}",
        allow_reconnect=False,
        nkeys_seed_str=credentials.seed,
        tls=access.tls_context(),
    )
