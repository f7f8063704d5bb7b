"""The one place that knows NATS: connection, commands, key-value state, events."""

from shared.bus.connection import Bus, BusStats, Message, Subscription
from shared.bus.endpoints import Endpoint, Served
from shared.bus.kv import Bucket, Entry, Mirror

__all__ = ["Bucket", "Bus", "BusStats", "Endpoint", "Entry", "Message", "Mirror", "Served", "Subscription"]
