"""Which of a host's addresses a device may be reached at."""

import asyncio
import socket

from schemas.errors import BadRequest
from services.io_signal.hand.drivers.base import DeviceError, Limits
from services.io_signal.signals.addresses import TcpAddress

_SETTING = "FRAMEMESH_IO_SIGNAL_TCP_ALLOW"


async def allowed_address(where: TcpAddress, limits: Limits) -> str:
    """The first address of the host that is allowed: connect to it, as the name may mean another one by then.

    Raises:
        BadRequest: none of them is.
        DeviceError: there is no such host.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise DeviceError(f"{where}: {error.strerror or error}") from None
    addresses = [str(one[4][0]) for one in found]
    for address in addresses:
        if limits.allows(where.host, address.partition("%")[0]):
            return address
    raise BadRequest(f"{where.host} ({', '.join(addresses)}) may not be reached; allow it with {_SETTING}")
