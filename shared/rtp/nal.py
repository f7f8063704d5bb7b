"""What the payload formats of H.264 and H.265 share: small NAL units travel together, large ones in fragments."""

from collections.abc import Callable, Iterable, Iterator


def pack_nals(
    nals: Iterable[bytes],
    max_bytes: int,
    *,
    header_bytes: int,
    together: Callable[[list[bytes]], bytes],
    fragments: Callable[[bytes, int], Iterator[bytes]],
) -> tuple[bytes, ...]:
    """RTP payloads of at most `max_bytes` each, in the order of the NAL units.

    `together`: one payload of several units, after a header of `header_bytes`. `fragments`: the payloads of a unit
    that is larger than one.
    """
    payloads: list[bytes] = []
    group: list[bytes] = []
    group_bytes = header_bytes
    for nal in nals:
        if group and group_bytes + 2 + len(nal) > max_bytes:
            payloads.append(group[0] if len(group) == 1 else together(group))
            group, group_bytes = [], header_bytes
        if len(nal) > max_bytes:
            payloads.extend(fragments(nal, max_bytes))
        else:
            group.append(nal)
            group_bytes += 2 + len(nal)
    if group:
        payloads.append(group[0] if len(group) == 1 else together(group))
    return tuple(payloads)


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
