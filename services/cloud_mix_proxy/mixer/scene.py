"""One layout of a mix: which layers make its picture, from the bottom up."""

from collections.abc import Mapping

from schemas.mix_resources import MixInput, MixSpec
from schemas.units import parse_size
from services.cloud_mix_proxy.mixer.arrangement import boxes
from services.cloud_mix_proxy.mixer.colours import RgbImage
from services.cloud_mix_proxy.mixer.corners import border
from services.cloud_mix_proxy.mixer.layer import Layer
from services.cloud_mix_proxy.mixer.rect import Rect
from services.cloud_mix_proxy.mixer.scaling import Scaler
from services.cloud_mix_proxy.mixer.stills import still_layer
from services.cloud_mix_proxy.mixer.text import filled, text_layer


class Scene:
    """A spec with all its still pictures at hand: nothing in it can fail any more."""

    def __init__(self, spec: MixSpec, stills: Mapping[str, RgbImage]) -> None:
        """`stills`: the logos, by their sources."""
        self.spec = spec
        self._width, self._height = parse_size(spec.size)
        self.boxes = boxes(spec)
        inputs = {one.input: one for one in spec.inputs}
        self._inputs: list[MixInput] = [inputs[name] for name in self.boxes]
        self.scalers = {name: Scaler(inputs[name], box, self._height) for name, box in self.boxes.items()}
        self._borders: dict[str, Layer] = {}
        self._logos = {
            f"logo {place}": still_layer(stills[logo.source], logo.box, logo.opacity, self._height)
            for place, logo in enumerate(spec.logos)
        }

    def layers(self, tiles: Mapping[str, Layer], now_ns: int) -> dict[str, Layer]:
        """The layers by name, from the bottom up.

        Args:
            tiles: by input; of an input that is not in it nothing is seen.
            now_ns: CLOCK_REALTIME of the picture, for clocks.
        """
        found: dict[str, Layer] = {}
        for one in self._inputs:
            tile = tiles.get(one.input)
            if tile is None:
                continue
            found[f"input {one.input}"] = tile
            if one.border:
                found[f"border {one.input}"] = self._border(one, tile.rect)
        found |= self._logos
        for place, text in enumerate(self.spec.texts):
            line = text_layer(text, filled(text, self.spec.mix, now_ns), self._width, self._height)
            if line is not None:
                found[f"text {place}"] = line
        return found

    def _border(self, one: MixInput, rect: Rect) -> Layer:
        """The same one for as long as the tile is where it is; it goes with the layout."""
        known = self._borders.get(one.input)
        if known is None or known.rect != rect:
            known = border(rect, one.border, one.radius, one.border_colour, one.opacity, self._height)
            self._borders[one.input] = known
        return known
