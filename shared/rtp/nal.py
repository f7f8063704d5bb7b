"""What the payload formats of H.264 and H.265 share: small NAL units travel together, large ones in fragments."""

from collections.abc import Callable, Iterable, Iterator

_FU_START, _FU_END = 0x80, 0x40  # S and E of a fragment's header


def pack_nals(
    nals: Iterable[bytes],
    max_bytes: int,
    first_room_bytes: int,
    *,
    header_bytes: int,
    together: Callable[[list[bytes]], bytes],
    fragments: Callable[[bytes, int, int], Iterator[bytes]],
) -> tuple[bytes, ...]:
    """RTP payloads of at most `max_bytes` each, the first so much shorter, in the order of the NAL units.

    `together`: one payload of several units, after a header of `header_bytes`. `fragments`: the payloads of a unit
    that is larger than one, given the unit, the most bytes of each and how much shorter the first must be.
    """
    payloads: list[bytes] = []
    group: list[bytes] = []
    group_bytes = header_bytes
    room = first_room_bytes
    for nal in nals:
        if group and group_bytes + 2 + len(nal) > max_bytes - room:
            payloads.append(group[0] if len(group) == 1 else together(group))
            group, group_bytes, room = [], header_bytes, 0
        if len(nal) > max_bytes - room:
            payloads.extend(fragments(nal, max_bytes, room))
            room = 0
        else:
            group.append(nal)
            group_bytes += 2 + len(nal)
    if group:
        payloads.append(group[0] if len(group) == 1 else together(group))
    return tuple(payloads)


def fragment_nal(nal: bytes, header: bytes, kind: int, max_bytes: int, first_room_bytes: int) -> Iterator[bytes]:
    """The fragments (FU) of a unit whose own header is as long as `header`, which goes before each instead."""
    begin, end = len(header), len(nal)
    whole = end - begin + first_room_bytes  # a header extension makes up for what the first is shorter
    size = piece_bytes(whole, max_bytes - len(header) - 1)
    for start in range(begin - first_room_bytes, end, size):
        first = _FU_START if start <= begin else 0
        last = _FU_END if start + size >= end else 0
        yield header + bytes((first | last | kind,)) + nal[max(start, begin) : start + size]


def piece_bytes(body_bytes: int, room_bytes: int) -> int:
    """How large the fragments of a body are: equal but the last, so that one segmented send carries a run of them."""
    count = -(-body_bytes // room_bytes)
    return -(-body_bytes // count)


def with_sizes(header: bytes, nals: Iterable[bytes]) -> bytes:
    """An aggregation packet: the header, then each unit after its size in two bytes."""
    parts = [header]
    for nal in nals:
        parts += (len(nal).to_bytes(2, "big"), nal)
    return b"".join(parts)
