"""The short form of `python -m tests.fuzz.live`: a whole mesh under fire for a few seconds, from a fixed seed."""

import pytest

from tests.fuzz.live import run

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
SEED = 20_261_122
SECONDS = 20.0  # at most; on a quiet machine what follows takes three
INPUTS = 160  # of commands, of requests, of sockets
LEAST = 40  # that a slow machine has to get through, or this would prove nothing


def test_nothing_that_comes_ends_a_service_or_keeps_it_from_others() -> None:
    found = run(SECONDS, SEED, INPUTS)
    assert not found.wrong, "\n".join(found.wrong)
    assert min(found.inputs.values()) >= LEAST
    assert found.ordinary >= 7, "each service was asked something ordinary meanwhile"
    assert {"commands 200", "commands 400", "commands 404", "webrtc-gateway 200", "sockets 101"} <= found.answers.keys()
