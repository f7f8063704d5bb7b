"""The places of inputs in each layout."""

import math
from collections.abc import Sequence
from itertools import pairwise

from schemas.mix_resources import Box, MixInput, MixSpec
from schemas.units import parse_size

# Of the canvas: small pictures in the corners, as broadcasters have them, and the column beside the large one.
_SMALL_SHARE = 0.25
_MARGIN_SHARE = 0.025
_COLUMN_SHARE = 0.25
_CORNERS = ((1, 1), (0, 1), (1, 0), (0, 0))
"""Right (1) or left, bottom (1) or top: in which order they are taken."""


def boxes(spec: MixSpec) -> dict[str, Box]:
    """The box of every input by its name, in the order in which they are drawn: from the lowest layer up."""
    width, height = parse_size(spec.size, "size")
    inputs = spec.inputs
    if spec.layout == "free":
        ordered = sorted(inputs, key=lambda one: one.layer)
        return {one.input: one.box for one in ordered if one.box is not None}
    if spec.layout == "grid":
        return _grid([one.input for one in inputs], Box(x=0, y=0, width=width, height=height), spec.gap)
    names = _focused_first(inputs, spec.focus)
    if spec.layout == "focus":
        return _beside(names, width, height, spec.gap)
    return _in_picture(names, width, height, spec.gap)


def _focused_first(inputs: Sequence[MixInput], focus: str | None) -> list[str]:
    names = [one.input for one in inputs]
    return sorted(names, key=lambda name: name != focus) if focus is not None else names


def _grid(names: Sequence[str], area: Box, gap: int) -> dict[str, Box]:
    """As many columns as rows, or one more; the last row stands in the middle."""
    columns = math.ceil(math.sqrt(len(names)))
    rows = math.ceil(len(names) / columns)
    across, down = _cuts(area.x, area.width, columns, gap), _cuts(area.y, area.height, rows, gap)
    found = {}
    for place, name in enumerate(names):
        row, column = divmod(place, columns)
        (left, width), (top, height) = across[column], down[row]
        missing = columns - min(columns, len(names) - row * columns)
        shift = missing * (width + gap) // 2
        found[name] = Box(x=left + shift, y=top, width=width, height=height)
    return found


def _beside(names: Sequence[str], width: int, height: int, gap: int) -> dict[str, Box]:
    if len(names) == 1:
        return {names[0]: Box(x=0, y=0, width=width, height=height)}
    column = round(width * _COLUMN_SHARE)
    large = Box(x=0, y=0, width=width - column - gap, height=height)
    places = _cuts(0, height, max(len(names) - 1, round(1 / _COLUMN_SHARE)), gap)
    beside = [Box(x=width - column, y=top, width=column, height=tall) for top, tall in places]
    return {names[0]: large, **dict(zip(names[1:], beside, strict=False))}


def _in_picture(names: Sequence[str], width: int, height: int, gap: int) -> dict[str, Box]:
    """Small ones in the corners; from the fifth on they stand above, or below, those that are there."""
    small_width, small_height = round(width * _SMALL_SHARE), round(height * _SMALL_SHARE)
    margin = round(height * _MARGIN_SHARE)
    found = {names[0]: Box(x=0, y=0, width=width, height=height)}
    for place, name in enumerate(names[1:]):
        storey, corner = divmod(place, len(_CORNERS))
        right, bottom = _CORNERS[corner]
        step = storey * (small_height + (gap or margin))
        found[name] = Box(
            x=width - margin - small_width if right else margin,
            y=height - margin - small_height - step if bottom else margin + step,
            width=small_width,
            height=small_height,
        )
    return found


def _cuts(start: int, length: int, count: int, gap: int) -> list[tuple[int, int]]:
    """(begin, length) of so many equal pieces with gaps between them; together they fill the length."""
    room = max(length - gap * (count - 1), 2 * count)
    edges = [room * place // count & ~1 for place in range(count)] + [room]
    return [(start + a + gap * place, b - a) for place, (a, b) in enumerate(pairwise(edges))]
