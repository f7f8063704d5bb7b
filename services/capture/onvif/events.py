"""What a camera tells of itself: motion, inputs, tampering. Pulled over a subscription for as long as the stream runs.

The pull waits at the camera (ONVIF Core 9.2, real-time pull point), so an event is here when it happens.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element, tostring

from schemas.errors import MeshError
from services.capture.onvif import soap, xml
from services.capture.onvif.soap import plain
from services.capture.onvif.transport import Transport
from shared.backoff import Backoff

log = logging.getLogger(__name__)

_LIFE_SECONDS = 60  # a subscription that is not renewed for so long ends; cameras can keep few of them
_RENEW_SECONDS = 20.0  # so that two renewals may be lost
_PULL_SECONDS = 10  # how long the camera keeps a question without an answer
_CALL_SECONDS = 5.0
_LAST_CALL_SECONDS = 1.0  # the stream ends, and others wait for that
_PULL_DISTANCE_SECONDS = 0.2  # for cameras that answer at once with nothing
_MESSAGES = 64
_EVENTS_PER_SECOND = 20  # more is a camera out of order, or one that shall flood the mesh
_MAX_TOPIC_CHARACTERS = 256
_MAX_ITEMS = 32
_MAX_ITEM_CHARACTERS = 256
_MAX_REFERENCE_CHARACTERS = 4096

Tell = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class _Subscription:
    url: str
    references: str
    """The camera's own headers, to be sent back as they are (WS-Addressing 1.0, 2.1)."""


class EventPull:
    """Hears one camera in a thread of its own, and again after every loss, until it is closed."""

    def __init__(
        self,
        transport: Transport,
        url: str,
        stream: str,
        tell: Tell,
        dropped: Callable[[], None],
        renew_seconds: float = _RENEW_SECONDS,
    ) -> None:
        """Args:
        url: where the camera has its event service.
        tell: is given each event, as `notification` makes it, with `dropped` where some before were left out.
        dropped: called for each event that is left out because there are too many.
        """
        self._transport = transport
        self._url = url
        self._stream = stream
        self._tell = tell
        self._dropped = dropped
        self._renew_seconds = renew_seconds
        self._limit = RateLimit(_EVENTS_PER_SECOND)
        self._left_out = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"onvif events {stream}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop hearing; abort the transport after it."""
        self._stop.set()
        self._transport.interrupt()
        self._thread.join(2 * _LAST_CALL_SECONDS)

    def _run(self) -> None:
        backoff = Backoff()
        while not self._stop.is_set():
            subscription = None
            try:
                subscription = self._subscribe()
                backoff.succeeded()
                self._pull(subscription)
            except MeshError as error:
                level = logging.DEBUG if backoff.failures else logging.INFO
                if not self._stop.is_set():
                    log.log(level, "no events from the camera now: %s", error, extra={"stream": self._stream})
            except Exception:  # a bug here must not end in silence, nor end the pictures
                log.exception("events failed", extra={"stream": self._stream})
            if subscription is not None:
                self._unsubscribe(subscription)
            self._stop.wait(0 if self._stop.is_set() else backoff.next_seconds())

    def _subscribe(self) -> _Subscription:
        body = self._transport.call(
            self._url,
            f'<CreatePullPointSubscription xmlns="{soap.EVENTS}">'
            f"<InitialTerminationTime>PT{_LIFE_SECONDS}S</InitialTerminationTime></CreatePullPointSubscription>",
            seconds=_CALL_SECONDS,
            header=soap.addressing(self._url, f"{soap.EVENTS}/EventPortType/CreatePullPointSubscriptionRequest"),
        )
        reference = xml.first(body, "SubscriptionReference")
        parameters = xml.first(reference, "ReferenceParameters")
        references = "".join(tostring(one, "unicode") for one in parameters) if parameters is not None else ""
        if len(references) > _MAX_REFERENCE_CHARACTERS:
            raise soap.Fault(f"{self._transport.what}: its subscription has too long a name")
        return _Subscription(xml.text(reference, "Address") or self._url, references)

    def _pull(self, subscription: _Subscription) -> None:
        renewed = time.monotonic()
        while not self._stop.is_set():
            asked = time.monotonic()
            body = self._ask(
                subscription,
                f"{soap.EVENTS}/PullPointSubscription/PullMessagesRequest",
                f'<PullMessages xmlns="{soap.EVENTS}"><Timeout>PT{_PULL_SECONDS}S</Timeout>'
                f"<MessageLimit>{_MESSAGES}</MessageLimit></PullMessages>",
                _PULL_SECONDS + _CALL_SECONDS,
            )
            for message in list(xml.each(body, "NotificationMessage"))[:_MESSAGES]:
                self._hear(message)
            if time.monotonic() - renewed > self._renew_seconds:
                renewed = time.monotonic()
                self._renew(subscription)
            self._stop.wait(max(0.0, asked + _PULL_DISTANCE_SECONDS - time.monotonic()))

    def _hear(self, message: Element) -> None:
        if not self._limit.admits():
            self._left_out += 1
            self._dropped()
            return
        detail = notification(message)
        if self._left_out:
            detail["dropped"], self._left_out = self._left_out, 0
        self._tell(detail)

    def _renew(self, subscription: _Subscription) -> None:
        try:
            self._ask(
                subscription,
                f"{soap.NOTIFICATION.replace('b-2', 'bw-2')}/SubscriptionManager/RenewRequest",
                f'<Renew xmlns="{soap.NOTIFICATION}"><TerminationTime>PT{_LIFE_SECONDS}S</TerminationTime></Renew>',
                _CALL_SECONDS,
            )
        except soap.Fault as error:  # to some the pull is a renewal; if not, the next one fails
            log.debug("not renewed: %s", error, extra={"stream": self._stream})

    def _unsubscribe(self, subscription: _Subscription) -> None:
        try:
            self._ask(
                subscription,
                f"{soap.NOTIFICATION.replace('b-2', 'bw-2')}/SubscriptionManager/UnsubscribeRequest",
                f'<Unsubscribe xmlns="{soap.NOTIFICATION}"/>',
                _LAST_CALL_SECONDS,
            )
        except MeshError as error:  # it ends by itself
            log.debug("not unsubscribed: %s", error, extra={"stream": self._stream})

    def _ask(self, subscription: _Subscription, action: str, body: str, seconds: float) -> Element:
        header = soap.addressing(subscription.url, action, subscription.references)
        return self._transport.call(subscription.url, body, seconds=seconds, header=header)


class RateLimit:
    """So many in a second, and as many at once."""

    def __init__(self, per_second: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._left = float(per_second)
        self._at = clock()

    def admits(self) -> bool:
        now = self._clock()
        self._left = min(self._left + (now - self._at) * self._per_second, float(self._per_second))
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def notification(message: Element) -> dict[str, Any]:
    """A NotificationMessage as `topic`, `time` (the camera's clock), `operation`, `source` items and `data` items."""
    inner = xml.first(message, "Message", "Message")  # ONVIF's within WS-Notification's
    return {
        "topic": plain(xml.text(message, "Topic"), _MAX_TOPIC_CHARACTERS),
        "time": _attribute(inner, "UtcTime"),
        "operation": _attribute(inner, "PropertyOperation"),
        "source": _items(xml.first(inner, "Source")),
        "data": _items(xml.first(inner, "Data")),
    }


def _items(group: Element | None) -> dict[str, str]:
    items = [] if group is None else list(xml.each(group, "SimpleItem"))[:_MAX_ITEMS]
    return {_attribute(item, "Name"): _attribute(item, "Value") for item in items}


def _attribute(element: Element | None, name: str) -> str:
    return plain(element.get(name, ""), _MAX_ITEM_CHARACTERS) if element is not None else ""
