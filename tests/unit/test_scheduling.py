"""SVT-AV1 gives its threads the highest real-time priority where it may; a whole machine stood still by it."""

import os

import pytest

from schemas.resources import RenditionSpec
from services.hw_encode.kinds import ENCODERS
from services.hw_encode.libav_codec import open_encoder

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("kind", [kind for kind in ENCODERS if not kind.hardware], ids=lambda kind: kind.name)
def test_no_encoder_has_real_time_threads(kind) -> None:
    spec = RenditionSpec(stream="cam0", codec=kind.codec)
    context = open_encoder(kind, spec, 320, 240, 30.0)
    policies = {os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task")}
    assert policies <= {os.SCHED_OTHER, os.SCHED_BATCH, os.SCHED_IDLE}
    del context
