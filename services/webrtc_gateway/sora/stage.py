"""A channel's spotlight in the eyes of its clients: what each is told of it, and which layers each gets for it."""

from collections.abc import Collection, Iterable, Mapping
from typing import Literal, Protocol

from services.webrtc_gateway.sora.messages import SpotlightChanged, SpotlightMoved, ToClient
from services.webrtc_gateway.sora.sections import Kind
from services.webrtc_gateway.sora.spotlight import Spotlight
from services.webrtc_gateway.sora.wishes import Wishes


class Member(Protocol):
    """A connection of the channel."""

    id: str
    client_id: str
    bundle_id: str
    wishes: Wishes
    live: bool

    @property
    def kinds(self) -> tuple[Kind, ...]: ...

    def say(self, message: ToClient) -> None: ...

    def steer(self) -> None:
        """Its wishes have changed."""
        ...


class Stage:
    """Of one channel; `members` is the channel's own table of them."""

    def __init__(self, members: Mapping[str, Member], spotlight: Spotlight | None = None) -> None:
        self._members = members
        self._spotlight = spotlight or Spotlight()
        self._places: dict[str, list[str]] = {}
        """By client, who is in each place of its spotlight; "" is nobody."""
        self._told: dict[str, frozenset[str]] = {}
        """By client, who is in the spotlight as it knows."""

    def heard(self, key: str, speaking: bool) -> None:
        """A member, or the mesh's stream of that name, begins or ends to speak."""
        if self._spotlight.heard(key, speaking):
            self.light()

    def left(self, keys: Iterable[str]) -> None:
        keys = tuple(keys)
        for key in keys:
            self._places.pop(key, None)
            self._told.pop(key, None)
        if self._spotlight.forget(keys):
            self.light()

    def light(self) -> None:
        """Have everybody see it as it is now: who came a moment ago, too."""
        for member in self._members.values():
            if member.live and member.wishes.spotlight:
                self._light(member)

    def _light(self, viewer: Member) -> None:
        number = viewer.wishes.number
        own = {viewer.id, *(m.id for m in self._members.values() if m.bundle_id == viewer.bundle_id)}
        focused = self._spotlight.focused(number, own)  # of what it gets
        seen = frozenset(focused) | (own & frozenset(self._spotlight.focused(number)))
        before = self._told.get(viewer.id, frozenset())
        self._told[viewer.id] = seen
        for key in sorted(before - seen):
            if key in self._members:
                viewer.say(self._moved("spotlight.unfocused", key))
        for key in (key for key in (*focused, *sorted(own)) if key in seen - before):
            viewer.say(self._moved("spotlight.focused", key))
        self._place(viewer, focused)
        if viewer.wishes.focused != frozenset(focused):
            viewer.wishes.focused = frozenset(focused)
            viewer.steer()

    def _place(self, viewer: Member, focused: Collection[str]) -> None:
        """Who stays in the light keeps its place there; others take those that are free."""
        places = self._places.setdefault(viewer.id, [""] * viewer.wishes.number)
        before = list(places)
        for place, key in enumerate(places):
            if key not in focused:
                places[place] = ""
        for key in focused:
            if key not in places:
                places[places.index("")] = key
        for place, (old, new) in enumerate(zip(before, places, strict=True)):
            if old != new:
                viewer.say(self._changed(place, new))

    def _changed(self, place: int, key: str) -> SpotlightChanged:
        client_id, kinds = self._who(key)
        return SpotlightChanged(
            client_id=client_id,
            connection_id=key or None,
            spotlight_id=str(place),
            audio="audio" in kinds,
            video="video" in kinds,
        )

    def _moved(self, event: Literal["spotlight.focused", "spotlight.unfocused"], key: str) -> SpotlightMoved:
        client_id, kinds = self._who(key)
        return SpotlightMoved(
            event_type=event, client_id=client_id, connection_id=key, audio="audio" in kinds, video="video" in kinds
        )

    def _who(self, key: str) -> tuple[str | None, tuple[Kind, ...]]:
        member = self._members.get(key)
        if member is not None:
            return member.client_id, member.kinds
        return None, ("audio", "video") if key else ()  # a stream of the mesh; nobody
