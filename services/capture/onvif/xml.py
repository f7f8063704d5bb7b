"""XML from outside, within bounds: no document types, no entities, no endless or endlessly deep documents.

Elements are found by their local name: cameras agree on those, and not on the versions in the namespaces.
"""

from collections.abc import Iterator
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from schemas.errors import Unavailable

MAX_XML_BYTES = 2 << 20  # the profiles of an NVR with 64 channels are about 500 kB
_MAX_ELEMENTS = 50_000
_MAX_DEPTH = 64  # ONVIF's deepest answers have 20
_SEPARATOR = "}"


class UnreadableXml(Unavailable):
    """What came is not a document of the kind that cameras send."""


def parse(data: bytes) -> Element:
    """The root of a document.

    Raises:
        UnreadableXml: not XML, too large, or it has a document type.
    """
    if len(data) > MAX_XML_BYTES:
        raise UnreadableXml(f"more than {MAX_XML_BYTES} bytes")
    return _Reader().read(data)


def local(element: Element) -> str:
    """The element's name without its namespace."""
    return str(element.tag).rpartition(_SEPARATOR)[2]


def each(root: Element, name: str) -> Iterator[Element]:
    """Every element of that name at or below `root`, in document order."""
    return (element for element in root.iter() if local(element) == name)


def first(root: Element | None, *path: str) -> Element | None:
    """The first element below `root`, at any depth, that `path` leads to: one name after the other."""
    for name in path:
        if root is None:
            return None
        parent = root
        root = next((element for element in each(parent, name) if element is not parent), None)
    return root


def text(root: Element | None, *path: str) -> str:
    """What that element says, without the white space around it; empty when it is not there."""
    found = first(root, *path)
    return (found.text or "").strip() if found is not None else ""


class _Reader:
    def __init__(self) -> None:
        self._builder = TreeBuilder()
        self._depth = self._elements = 0
        parser = self._parser = expat.ParserCreate(namespace_separator=_SEPARATOR)
        parser.buffer_text = True
        # The one door to entities, inner and outer, is the document type; SOAP forbids it (SOAP 1.2 part 1, 5).
        parser.StartDoctypeDeclHandler = self._refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._builder.data

    def read(self, data: bytes) -> Element:
        try:
            self._parser.Parse(data, True)
        except (expat.ExpatError, ValueError, LookupError) as error:  # the latter two: an encoding nobody knows
            raise UnreadableXml(f"not XML: {error}") from None
        root: Element = self._builder.close()
        return root

    def _refuse(self, *_: object) -> None:
        raise UnreadableXml("it has a document type, which no camera needs")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        self._elements += 1
        if self._depth > _MAX_DEPTH or self._elements > _MAX_ELEMENTS:
            raise UnreadableXml(f"more than {_MAX_ELEMENTS} elements, or {_MAX_DEPTH} within one another")
        self._builder.start(_bracketed(name), {_bracketed(key): value for key, value in attributes.items()})

    def _end(self, name: str) -> None:
        self._depth -= 1
        self._builder.end(_bracketed(name))


def _bracketed(name: str) -> str:
    """`namespace}name` as ElementTree has it."""
    return "{" + name if _SEPARATOR in name else name
