"""The one place that knows NATS: connection, commands, key-value state, events."""

import shared.bus.aiohttp_when_used  # noqa: F401  # before the library is
from shared.bus.bus import Bus
from shared.bus.endpoints import Answered, Endpoint, Served
from shared.bus.follower import Change, Follower
from shared.bus.kept_log import KeptLog
from shared.bus.kv import Bucket, Entry
from shared.bus.kv_errors import BucketFull
from shared.bus.mirror import Mirror
from shared.bus.outbox import BusStats
from shared.bus.requests import NobodyAnswers
from shared.bus.server_look import ServerLook, StreamLook, look_at_server, stored_at
from shared.bus.servers import shown_servers
from shared.bus.subscription import Message, Subscription
from shared.bus.work_queue import QueueSize, Taker, Work, WorkQueue

__all__ = [
    "Answered",
    "Bucket",
    "BucketFull",
    "Bus",
    "BusStats",
    "Change",
    "Endpoint",
    "Entry",
    "Follower",
    "KeptLog",
    "Message",
    "Mirror",
    "NobodyAnswers",
    "QueueSize",
    "Served",
    "ServerLook",
    "StreamLook",
    "Subscription",
    "Taker",
    "Work",
    "WorkQueue",
    "look_at_server",
    "shown_servers",
    "stored_at",
]
