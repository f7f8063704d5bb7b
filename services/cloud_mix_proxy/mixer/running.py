"""One layout while it is seen, or about to be: its places, their tiles and their sound."""

from collections.abc import Mapping
from concurrent.futures import Executor, Future
from typing import Any

from schemas.mix_resources import MixInputActual
from services.cloud_mix_proxy.mixer.inputs import StreamInput
from services.cloud_mix_proxy.mixer.layer import Layer
from services.cloud_mix_proxy.mixer.place import Place
from services.cloud_mix_proxy.mixer.preparing import Prepared
from services.cloud_mix_proxy.mixer.sound import gain_of
from services.cloud_mix_proxy.mixer.sound_input import SoundInput


class Running:
    """Belongs to the mixing thread."""

    def __init__(self, prepared: Prepared, streams: Mapping[str, StreamInput], former: "Running | None") -> None:
        """
        Args:
            streams: by their names; of all inputs that are streams.
            former: what is seen now; its tiles stand in where there are no pictures any more.
        """
        self.prepared, self.scene = prepared, prepared.scene
        self._former = {place.stream.stream: place for place in former.places.values()} if former else {}
        layout = prepared.layout
        self.places: dict[str, Place] = {
            one.input: Place(
                one,
                self.scene.boxes[one.input],
                streams[layout.streams[one.input]],
                self.scene.scalers[one.input],
                prepared.slates.get(one.input),
                prepared.geometry.height,
            )
            for one in layout.spec.inputs
            if one.input in layout.streams
        }
        self.gains: dict[SoundInput, float] = {}
        for place in self.places.values() if layout.spec.sound else ():
            gain = gain_of(place.input.gain_db, place.input.muted)
            self.gains[place.stream.sound] = self.gains.get(place.stream.sound, 0.0) + gain

    def begin(self, moment_ns: int, pool: Executor) -> list[Future[Any]]:
        """Have the tiles of this moment made; returns what is being made."""
        for place in self.places.values():
            place.begin(moment_ns, pool)
            if place.job is None and place.tile is None and self._former:
                before = self._former.pop(place.stream.stream, None)
                if before is not None and before.tile is not None:
                    place.begin_with(before.tile, pool)
        return [place.job for place in self.places.values() if place.job is not None]

    def settle(self) -> bool:
        """Take what is made; False: a place that will have a tile has none yet."""
        for place in self.places.values():
            place.settle()
        self._former = {}
        return all(place.tile is not None or place.job is None for place in self.places.values())

    def layers(self, moment_ns: int) -> dict[str, Layer]:
        """From the bottom up; `moment_ns`: CLOCK_REALTIME, for clocks."""
        tiles = dict(self.prepared.tiles)
        for name, place in self.places.items():
            tile = place.shown()
            if tile is not None:
                tiles[name] = tile
        return self.scene.layers(tiles, moment_ns)

    def inputs(self) -> tuple[MixInputActual, ...]:
        """How they are, in the order of the spec. May be asked from another thread."""
        found = []
        for one in self.prepared.layout.spec.inputs:
            place, box = self.places.get(one.input), self.scene.boxes.get(one.input)
            if place is None:
                found.append(MixInputActual(input=one.input, state="live", box=box))
                continue
            stream = place.stream
            state = stream.state
            found.append(
                MixInputActual(input=one.input, stream=stream.stream, state=state, since_ns=stream.since_ns, box=box)
            )
        return tuple(found)

    def close(self) -> None:
        for place in self.places.values():
            place.close()
