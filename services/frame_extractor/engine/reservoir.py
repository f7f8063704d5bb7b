"""A fair choice among pictures that nobody has counted."""

import random
from collections.abc import Iterable
from itertools import islice


def choose(items: Iterable[int], count: int, seed: int) -> list[int]:
    """`count` of the items, each as likely as any other, in their order; all of them where there are fewer.

    Source: Vitter 1985, algorithm R. The same seed makes the same choice.
    """
    source = iter(items)
    kept = list(enumerate(islice(source, count)))
    draw = random.Random(seed)
    for number, item in enumerate(source, count):
        place = draw.randint(0, number)
        if place < count:
            kept[place] = (number, item)
    return [item for _, item in sorted(kept)]
