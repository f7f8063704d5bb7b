"""Who speaks and listens, by what they have in common."""

from schemas.channel import Party
from schemas.subjects import SERVICES

RUNNING_SERVICES: tuple[Party, ...] = SERVICES
OBSERVERS: tuple[Party, ...] = (*RUNNING_SERVICES, "writer", "transformer", "client", "cli", "console")
APPLICATIONS: tuple[Party, ...] = ("writer", "client")
FOR_PEOPLE: tuple[Party, ...] = ("webrtc-gateway", "io-signal")
LOOKERS: tuple[Party, ...] = ("writer", "transformer", "client", "cli", "console")
SIGNALLERS: tuple[Party, ...] = ("cli", "writer", "client", "io-signal")  # itself for rules, and for its peers
MIXERS: tuple[Party, ...] = ("cli", "writer")
