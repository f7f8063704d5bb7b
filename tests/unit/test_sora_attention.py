"""Who floods its WebSocket is read later, and holds up nobody."""

import time

import pytest

from services.webrtc_gateway.sora.attention import Attention, attention_of_all

pytestmark = pytest.mark.unit


def hear(text: str) -> bool:
    return text == "known"


def think(seconds: float) -> bool:
    until_s = time.thread_time() + seconds
    while time.thread_time() < until_s:
        pass
    return True


def test_a_client_that_says_much_is_heard_later() -> None:
    attention = Attention(attention_of_all())
    assert attention.give(hear, "known")
    assert not attention.give(hear, "strange")
    for _ in range(90):
        assert not attention.is_spent, "an ordinary client says less"
        attention.give(hear, "known")
    for _ in range(90):
        attention.give(hear, "known")
    assert attention.is_spent


def test_what_one_client_costs_is_taken_from_its_share_and_from_that_of_all() -> None:
    of_all = attention_of_all()
    one, other = Attention(of_all), Attention(of_all)
    before = of_all.left
    one.give(lambda _: think(0.3), "")
    assert one.is_spent
    assert of_all.left < before
    assert not other.is_spent
    of_all.spend(1)
    assert other.is_spent, "it has said nothing yet, but neither shall pictures wait"


def test_what_ends_in_an_error_has_taken_its_time_too() -> None:
    attention = Attention(attention_of_all())

    def fail(text: str) -> bool:
        think(0.3)
        raise ValueError(text)

    with pytest.raises(ValueError, match="why"):
        attention.give(fail, "why")
    assert attention.is_spent
