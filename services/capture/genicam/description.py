"""A camera's own description of itself, judged before the C library that believes it.

A description is XML that the camera keeps; it may be broken or hostile. Two nodes that name one another as their value
end aravis in an endless recursion, a register of some exabytes in an abort, and its address may name any file of this
host: each ends the process, and with it all other streams.
"""

import re
from collections.abc import Iterator
from xml.parsers import expat

from schemas.errors import Unavailable

_MAX_BYTES = 16 << 20  # the largest known are 3 MB
_MAX_REGISTER_BYTES = 16 << 20  # tables of a whole sensor's pixels
_MAX_NODES = 200_000
_MAX_DEPTH = 64  # of elements; real ones have 6
_MAX_STEPS = 500  # from a node to the register behind it; real ones have about 10, and each takes some of C's stack
_LOCAL = re.compile(r"local:\s*[^;]+;\s*(?:0x)?[0-9a-f]+;\s*(?:0x)?([0-9a-f]{1,16})\b", re.IGNORECASE)
_REMOTE = re.compile(r"https?:", re.IGNORECASE)
_MAX_READS = 1_000_000  # of nodes, for one; each may ask several others, and those again
_NUMBER = re.compile(r"[+-]?(0x[0-9a-f]+|[0-9]+)", re.IGNORECASE)
# What is read in order to read a node. Its availability comes from values only, so that cannot go in circles.
_OF_VALUE = frozenset((
    "pValue", "pValueCopy", "pValueIndexed", "pValueDefault", "pVariable", "pAddress", "pIndex", "pLength",
    "pCommandValue",
))  # fmt: skip
_NO_NODES = frozenset(("Constant", "Expression", "EnumEntry"))  # have names, but of their own
_BOUNDS = frozenset(("pMin", "pMax", "pInc"))


def check_places(called: str, first: str, second: str) -> None:
    """Judge where a camera says that its description is, in its two registers for that.

    The second place is gone to where the first holds nothing, which an honest camera does not have.

    Raises:
        Unavailable: not in the camera, or too large.
    """
    for number, place in enumerate((first, second)):
        if local := _LOCAL.match(place):
            size = int(local[1], 16)
            if size > _MAX_BYTES:
                raise Unavailable(f"{called} has a description of {size} bytes; at most {_MAX_BYTES} are read")
        elif number == 0 or (place and not _REMOTE.match(place)):
            raise Unavailable(
                f"{called} says that its description is at {place[:80]!r}; only one in the camera is read"
            )


def check_description(called: str, xml: bytes) -> None:
    """Judge a description.

    Raises:
        Unavailable: broken, too large, or its nodes go in circles; names one.
    """
    if len(xml) > _MAX_BYTES:
        raise Unavailable(f"{called} has a description of {len(xml)} bytes; at most {_MAX_BYTES} are read")
    reader = _Reader()
    try:
        reader.read(xml.rstrip(b"\0 \t\r\n"))  # cameras fill their memory up with zeros
        _check_steps(reader.edges)
    except (expat.ExpatError, ValueError) as error:
        raise Unavailable(f"{called} has a description that cannot be used: {error}; update its firmware") from None


_Part = tuple[str, bool]
"""A node's name; True: its bounds, False: its value."""


class _Reader:
    """What each node's value and bounds are made of. Raises ValueError for what no camera has."""

    def __init__(self) -> None:
        self.edges: dict[_Part, list[_Part]] = {}
        self._named: list[str] = []
        """Of each open element the node that it belongs to."""
        self._text: list[str] = []
        self._attributes: dict[str, str] = {}

    def read(self, xml: bytes) -> None:
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text.append
        parser.EntityDeclHandler = self._entity
        parser.Parse(xml, True)

    def _entity(self, name: str, *_: object) -> None:
        raise ValueError(f"it defines an entity {name[:40]!r}")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        name = self._named[-1] if self._named else ""
        if tag == "StructReg":
            name = f"{tag} {len(self.edges)}"  # no node's name has a space
        elif "Name" in attributes and tag[0].isupper() and tag not in _NO_NODES:
            if tag == "StructEntry":  # its address is that of what is around it
                self._join((attributes["Name"], False), (name, False))
            name = attributes["Name"]
        self.edges.setdefault((name, False), [])
        self._named.append(name)
        if len(self._named) > _MAX_DEPTH or len(self.edges) > _MAX_NODES:
            raise ValueError(f"more than {_MAX_DEPTH} elements in one another, or {_MAX_NODES} nodes")
        self._attributes = attributes
        self._text.clear()

    def _end(self, tag: str) -> None:
        name, text = self._named.pop(), "".join(self._text).strip()
        self._text.clear()
        if tag == "Length":
            _check_length(name, text)
        elif tag in _BOUNDS:
            self._join((name, True), (text, False))
        elif tag in _OF_VALUE:
            self._join((name, False), (text, False))
            self._join((name, True), (text, True))
            if "." in self._attributes.get("Name", ""):  # a variable that is another node's limit
                self._join((name, False), (text, True))
            if offset := self._attributes.get("pOffset"):
                self._join((name, False), (offset, False))
        self._attributes = {}

    def _join(self, part: _Part, needs: _Part) -> None:
        self.edges.setdefault(part, []).append(needs)


def _check_length(name: str, text: str) -> None:
    number = _NUMBER.match(text)
    if number and not 0 <= int(number[0], 16 if "x" in number[0].lower() else 10) <= _MAX_REGISTER_BYTES:
        raise ValueError(f"{name[:80]} is of {text[:40]} bytes")


def _check_steps(edges: dict[_Part, list[_Part]]) -> None:
    """Raise ValueError where something is made of itself, or of too much. Without recursion: that is the point."""
    done: dict[_Part, tuple[int, int]] = {}  # how deep, and how many reads
    for start in edges:
        path: dict[_Part, Iterator[_Part]] = {} if start in done else {start: iter(edges[start])}
        while path:
            part, left = next(reversed(path.items()))
            following = next(left, None)
            if following is None:
                found = [done[needed] for needed in edges.get(part, ())]
                reads = 1 + sum(reads for _, reads in found)
                done[part] = 1 + max((deep for deep, _ in found), default=0), reads
                del path[part]
                if reads > _MAX_READS:
                    raise ValueError(f"{part[0][:80]} is made of more than {_MAX_READS} others")
            elif following in path:
                raise ValueError(f"{following[0][:80]} is made of itself")
            elif following not in done:
                path[following] = iter(edges.get(following, ()))
                if len(path) > _MAX_STEPS:
                    raise ValueError(f"{start[0][:80]} is more than {_MAX_STEPS} nodes away from its register")
