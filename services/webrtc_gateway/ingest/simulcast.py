"""What signalling says of a publisher's layers (RFC 8853), and the renditions that they become."""

import re
from collections.abc import Collection, Mapping, Sequence

from schemas.encoding import CODEC_RENDITIONS
from schemas.errors import BadRequest
from schemas.subjects import DEFAULT_RENDITION, RAW, SOURCE_RENDITION

RID = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
REPAIRED_RID = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
MAX_LAYERS = 3  # what browsers send; each costs a reorder buffer and its share of the line
_RID_CHARACTERS = 16  # the longest that a one-byte header extension carries, and that browsers write
_NAME_CHARACTERS = 32  # of a rendition: what is cleaned and made unique stays an id
_RESERVED = frozenset((SOURCE_RENDITION, RAW, DEFAULT_RENDITION, *CODEC_RENDITIONS))
_SECTION = re.compile(r"^m=", re.MULTILINE)


def offered_rids(text: str) -> dict[str, tuple[str, ...]]:
    """By mid, the layers that an offer or an answer sends, in its order; of alternatives the first.

    Raises:
        BadRequest: a rid is none.
    """
    found: dict[str, tuple[str, ...]] = {}
    for section in _SECTION.split(text)[1:]:
        values: dict[str, list[str]] = {"mid": [], "rid": [], "simulcast": []}
        for line in section.splitlines():
            name, _, value = line.partition(":")
            if name.startswith("a=") and name[2:] in values:
                values[name[2:]].append(value.strip())
        if values["mid"] and values["simulcast"]:
            sent = {words[0] for words in map(str.split, values["rid"]) if words[1:2] == ["send"]}
            found[values["mid"][0]] = _listed(values["simulcast"][0], sent)
    return found


def _listed(simulcast: str, sent: Collection[str]) -> tuple[str, ...]:
    """The rids of `send r0;~r1;r2,r3 recv …`: `~` is a layer that is paused at first."""
    words = simulcast.split()
    value = next((words[at + 1] for at, word in enumerate(words[:-1]) if word == "send"), "")
    rids: list[str] = []
    for piece in value.split(";"):
        rid = piece.partition(",")[0].removeprefix("~")
        if rid not in sent or rid in rids:
            continue
        if not re.fullmatch(rf"[A-Za-z0-9_-]{{1,{_RID_CHARACTERS}}}", rid):
            raise BadRequest(f"a=rid {rid[:40]!r}: use 1-{_RID_CHARACTERS} letters, digits, '-' or '_'")
        rids.append(rid)
    return tuple(rids)


def layer_names(rids: Sequence[str], taken: Collection[str] = ()) -> Mapping[str, str]:
    """By rid, the rendition that the layer is: the rid in our alphabet, or something near where that has a meaning.

    `taken`: renditions that the stream has otherwise.
    """
    names: dict[str, str] = {}
    for rid in rids:
        cleaned = re.sub(r"[^a-z0-9]+", "-", rid.lower()).strip("-")[:_NAME_CHARACTERS] or "layer"
        others = {*_RESERVED, *taken, *names.values()}
        name = cleaned if cleaned not in others else f"layer-{cleaned}"
        number = 2
        while name in others:
            name, number = f"layer-{cleaned}-{number}", number + 1
        names[rid] = name
    return names
