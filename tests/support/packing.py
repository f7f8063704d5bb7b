"""Samples packed as cameras do, bit by bit: slow, and plain enough to be believed."""


def packed(name: str, samples: list[int]) -> bytes:
    """In `Mono12p` and the like one sample after the other, least significant bit first; in `Mono12Packed` two in
    three bytes, their low bits shared in the middle one.
    """
    bits = int("".join(character for character in name if character.isdigit()))
    if name.endswith("p"):
        out, held, held_bits = bytearray(), 0, 0
        for value in samples:
            held |= value << held_bits
            held_bits += bits
            while held_bits >= 8:
                out.append(held & 0xFF)
                held, held_bits = held >> 8, held_bits - 8
        return bytes(out + bytes((held,) if held_bits else ()))
    low = bits - 8
    mask = (1 << low) - 1
    out = bytearray()
    for first, second in zip(samples[::2], samples[1::2], strict=True):
        out += bytes((first >> low, (first & mask) | (second & mask) << 4, second >> low))
    return bytes(out)
