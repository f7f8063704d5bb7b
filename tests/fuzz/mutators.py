"""Ways to make another input of one: of bytes, of lines of text, of JSON, and of several parts in one."""

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

Mutator = Callable[[Random, bytes, Sequence[bytes]], bytes]
"""(dice, the input, all seeds) -> another input. Same dice, same result."""

MOST_BYTES: Final = 16 * 1024
"""An input is no longer: what costs its length alone tells nothing more with more of it."""
# Lengths and counts in headers break at their edges.
_EDGES: Final = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    2**63 - 1,
    2**64 - 1,
)
_WORDS: Final = (
    "",
    "\0",
    "\r\n",
    " ",
    "%00",
    "%2e%2e%2f",
    "../../etc/passwd",
    "-1",
    "1e309",
    "NaN",
    "\u0661",
    "é",
    "😀",
    "9" * 400,
    "x" * 5_000,
    "{event.__class__}",
    "${HOME}",
    "*",
    ">",
    "a.b",
    "cam0",
    "CAM0",
    "a--b",
    "rtsp://u:p@127.0.0.1:1/x",
    "http://[::1",
    "file:///etc/passwd",
    "file:///dev/zero",
    "test://?size=99999999x1&fps=1e9",
    "mesh://cam0",
    "secret://x",
    "1h",
    "-1s",
    "4M",
    "1920x1080",
    "0x0",
    "(a+)+$",
)
_VALUES: Final[tuple[Any, ...]] = (
    *_WORDS,
    None,
    True,
    False,
    0,
    1,
    -1,
    2**31,
    2**53 + 1,
    2**63,
    -(2**63) - 1,
    2**64,
    10**400,
    0.5,
    -0.0,
    1e308,
    float("inf"),
    float("nan"),
    [],
    {},
    [[]],
    [None],
    {"": {}},
    "\ud800",
)


def mutate_bytes(dice: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Turn bits, set edges of numbers, cut, double, insert, and cross with another seed."""
    made = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 4, 8))):
        at = dice.randrange(len(made) + 1)
        kind = dice.randrange(8)
        if kind == 0 and at < len(made):
            made[at] ^= 1 << dice.randrange(8)
        elif kind == 1 and at < len(made):
            made[at] = dice.randrange(256)
        elif kind == 2:
            size = dice.choice((1, 2, 4, 8))
            edge = dice.choice(_EDGES) & (1 << 8 * size) - 1
            made[at : at + size] = edge.to_bytes(size, dice.choice(("big", "little")))
        elif kind == 3:
            del made[at : at + dice.choice((1, 2, 4, 16, 256))]
        elif kind == 4:
            made[at:at] = dice.randbytes(dice.choice((1, 2, 4, 16)))
        elif kind == 5:
            made[at:at] = made[at : at + dice.choice((4, 16, 64, 1024))] * dice.choice((1, 1, 8))
        elif kind == 6:
            other = dice.choice(seeds)
            begin = dice.randrange(len(other) + 1)
            made[at : at + dice.choice((0, 16, len(made)))] = other[begin:]
        elif len(made) > 1:
            del made[at:]
    return bytes(made[:MOST_BYTES])


def mutate_text(dice: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """As bytes; and words where words stood, lines doubled, left out, moved and crossed."""
    if not data or dice.random() < 0.3:
        return mutate_bytes(dice, data, seeds)
    lines = data.split(b"\n")
    at = dice.randrange(len(lines))
    kind = dice.randrange(6)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines[at:at] = lines[at : at + 3] * dice.choice((1, 1, 50))
    elif kind == 2:
        lines[at], other = dice.choice(lines), lines[at]
        lines[dice.randrange(len(lines))] = other
    elif kind == 3:
        lines[at:at] = dice.choice(seeds).split(b"\n")[dice.randrange(3) :][:4]
    else:
        line = lines[at]
        marks = [place for place, byte in enumerate(line) if byte in b" :;,=/?&.@-\"'[]{}()"] or [0]
        begin = dice.choice(marks) + dice.randrange(2)
        end = dice.choice([*(mark for mark in marks if mark > begin), len(line)])
        lines[at] = line[:begin] + dice.choice(_WORDS).encode() + line[end:]
    return b"\n".join(lines)[:MOST_BYTES]


def mutate_json(dice: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Another value, key or branch in some place; what is no JSON any more is changed as text."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return mutate_text(dice, data, seeds)
    if dice.random() < 0.1:
        return mutate_text(dice, data, seeds)
    others = [other for other in seeds if other[:1] in b"{["]
    try:
        document = _changed(dice, document, json.loads(dice.choice(others)) if others else None)
        return json.dumps(document).encode()[:MOST_BYTES]
    except (ValueError, RecursionError):  # a number that is too long to be written, or a seed that is no JSON
        return mutate_text(dice, data, seeds)


def in_parts(*mutators: Mutator, between: bytes = b"\n") -> Mutator:
    """Of an input whose first parts end with `between`: one of them is changed, or exchanged with a seed's."""

    def mutate(dice: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
        parts = data.split(between, len(mutators) - 1)
        number = dice.randrange(len(parts))
        same = [other[number] for seed in seeds if len(other := seed.split(between, len(mutators) - 1)) > number]
        part = mutators[number](dice, parts[number], same or [b""])
        if number < len(mutators) - 1:  # it ends with what it must not hold
            part = part.replace(between, b"")
        return between.join([*parts[:number], part, *parts[number + 1 :]])

    return mutate


def keep(dice: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Of a part that says what the others are: some seed's."""
    return data if dice.random() < 0.5 else dice.choice(seeds)


def _changed(dice: Random, value: Any, other: Any) -> Any:
    inside = [*value] if isinstance(value, dict) else [*range(len(value))] if isinstance(value, list) else []
    if inside and dice.random() < 0.8:
        key = dice.choice(inside)
        kind = dice.randrange(6)
        if kind == 0:
            del value[key]
        elif kind == 1 and isinstance(value, list):
            value[key:key] = [value[key]] * dice.choice((1, 100))
        elif kind == 1:
            value[dice.choice((*_WORDS, *_keys(other)))] = value.pop(key)
        elif kind == 2 and isinstance(value, dict) and (keys := _keys(other)):
            taken = dice.choice(keys)
            value[taken] = other[taken]
        else:
            value[key] = _changed(dice, value[key], other)
        return value
    if isinstance(value, str) and value and dice.random() < 0.5:
        return mutate_text(dice, value.encode("utf-8", "surrogatepass"), [b"x"]).decode("utf-8", "replace")
    if type(value) is int and dice.random() < 0.5:
        return dice.choice((value + 1, value - 1, -value, value * 1000, [value]))
    return dice.choice((*_VALUES, [value], {"x": value}, _nested(dice)))


def _keys(value: Any) -> list[str]:
    return [*value] if isinstance(value, dict) else []


def _nested(dice: Random) -> Any:
    deep: Any = None
    for _ in range(dice.choice((3, 40, 300))):
        deep = [deep] if dice.random() < 0.5 else {"a": deep}
    return deep
