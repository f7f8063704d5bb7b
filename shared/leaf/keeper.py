"""One process of an edge host keeps the leaf's buckets and the hub's in step; when it dies another one does.

    desired, secrets    hub -> copy          what is asked for, also for a host that is cut off
    actual              both ways, by node   each side tells what it alone knows
    presence, demand    both ways, by node   as it comes

Everything is made the same from what both sides have now, not from a record of what was done: a cut, a killed process
and a lost disk on either side end in the same state.
"""

import asyncio
import logging
import os
from contextlib import AsyncExitStack
from pathlib import Path

from schemas.buckets import form_of
from schemas.errors import InvalidValue, MeshError
from schemas.placements import copy_bucket
from schemas.subjects import ACTUAL_BUCKET, DEMAND_BUCKET, DESIRED_BUCKET, PRESENCE_BUCKET, SECRETS_BUCKET
from shared.bus import Bucket, Bus, Follower, Mirror
from shared.kernel_locks import LockFile, write_lock
from shared.leaf.copies import Copy
from shared.leaf.own_states import OwnStates
from shared.leaf.passing import Passing
from shared.shm_folder import ensure_folder

log = logging.getLogger(__name__)

_TURN_SECONDS = 0.5
_OPEN_AGAIN_SECONDS = 1.0
_LOOK_SECONDS = 1.0  # for the hub; one small question over the link


def check_node(bus: Bus, node: str) -> None:
    """Raises:
    InvalidValue: the server is the leaf of another node: what is told as this node's would not reach the hub.
    """
    if bus.leaf_of not in (None, node):
        raise InvalidValue(
            "FRAMEMESH_NODE", node, f"this nats-server is the leaf of node {bus.leaf_of!r}; set that, or use its own"
        )


async def keep_in_step(bus: Bus, node: str, shm_dir: Path) -> None:
    """Wait for this process's turn on the host, then work until cancelled."""
    ensure_folder(shm_dir)
    lock = LockFile(
        os.open(shm_dir / f".leaf.{node}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    )
    try:
        while not lock.try_lock(write_lock(0)):  # noqa: ASYNC110  # the kernel tells nobody of a lock that is free again
            await asyncio.sleep(_TURN_SECONDS)
        while True:
            try:
                await _work(bus, node)
            except MeshError as error:  # the leaf's own server is away
                log.debug("leaf: %s", error)
                await asyncio.sleep(_OPEN_AGAIN_SECONDS)
    finally:
        lock.close()


async def _work(bus: Bus, node: str) -> None:
    async with AsyncExitStack() as stack:
        parts: list[Copy | OwnStates | Passing] = []
        for name in (DESIRED_BUCKET, SECRETS_BUCKET):
            copy = await bus.bucket(copy_bucket(name))
            parts.append(Copy(_hub(bus, name), copy))
            stack.push_async_callback(parts[-1].close)
        parts.append(OwnStates(node, _hub(bus, ACTUAL_BUCKET), await bus.bucket(ACTUAL_BUCKET)))
        stack.push_async_callback(parts[-1].close)
        presence = Passing(
            _hub(bus, PRESENCE_BUCKET), await bus.bucket(PRESENCE_BUCKET), lambda key: _node_of_presence(key) == node
        )
        stack.push_async_callback(presence.close)
        demand = Passing(
            _hub(bus, DEMAND_BUCKET),
            await bus.bucket(DEMAND_BUCKET),
            lambda key: not key.startswith(f"{node}."),
            f"{node}.>",
        )
        stack.push_async_callback(demand.close)
        parts += [presence, demand]
        log.info("node %s is kept in step with its hub", node)
        await _watch_hub(_hub(bus, DESIRED_BUCKET), [part.there for part in parts])


async def _watch_hub(bucket: Bucket, followed: list[Mirror | Follower]) -> None:
    """When the hub is back, have everything listed anew: what was written meanwhile nobody has told."""
    away = False
    while True:
        try:
            await bucket.get(_ANY_KEY)
        except MeshError:
            if not away:
                log.warning("cut off from the hub: this host goes on with what was asked for until now")
            away = True
        else:
            if away:
                log.info("the hub is back")
                for one in followed:
                    one.look_again()
            away = False
        await asyncio.sleep(_LOOK_SECONDS)


_ANY_KEY = "capture.any"  # that there is none is an answer too


def _hub(bus: Bus, name: str) -> Bucket:
    return bus.hub_bucket(name, form_of(name))


def _node_of_presence(key: str) -> str:
    return key.partition(".")[2].partition("--")[0]
