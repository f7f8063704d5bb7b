"""Which samplings need so little of a long video that it is not worth fetching."""

import pytest

from schemas.sampling import Sampling
from services.frame_extractor.extraction import needs_little


@pytest.mark.parametrize(
    ("sampling", "little"),
    [
        (Sampling(), False),
        (Sampling(max_frames=3), True),
        (Sampling(max_frames=16), False),
        (Sampling(fps=0.1), False),
        (Sampling(fps=1 / 60), True),
        (Sampling(mode="fps", fps=0.02), True),
        (Sampling(mode="interval", interval_s=29), False),
        (Sampling(mode="interval", interval_s=30), True),
        (Sampling(mode="uniform", count=8), True),
        (Sampling(mode="uniform", count=500), False),
        (Sampling(mode="timestamps", timestamps_s=(1.0, 2.0)), True),
        (Sampling(mode="timestamps", timestamps_s=tuple(map(float, range(50)))), False),
        (Sampling(mode="frames", interval_frames=10_000), False),
    ],
)
def test_what_is_read_in_ranges(sampling: Sampling, little: bool) -> None:
    assert needs_little(sampling) is little
