"""The one place that knows NATS: connection, commands, key-value state, events."""

import shared.bus.aiohttp_when_used  # noqa: F401  # before the library is
from shared.bus.connection import Bus
from shared.bus.endpoints import Endpoint, Served
from shared.bus.follower import Change, Follower
from shared.bus.kv import Bucket, BucketFull, Entry
from shared.bus.mirror import Mirror
from shared.bus.outbox import BusStats
from shared.bus.subscription import Message, Subscription
from shared.bus.work_queue import QueueSize, Taker, Work, WorkQueue

__all__ = [
    "Bucket",
    "BucketFull",
    "Bus",
    "BusStats",
    "Change",
    "Endpoint",
    "Entry",
    "Follower",
    "Message",
    "Mirror",
    "QueueSize",
    "Served",
    "Subscription",
    "Taker",
    "Work",
    "WorkQueue",
]
