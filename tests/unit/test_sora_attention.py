"""Who floods its WebSocket is read later, and holds up nobody."""

import pytest

from services.webrtc_gateway.sora.attention import Attention, attention_of_all

pytestmark = pytest.mark.unit
LONG_SECONDS = 60.0  # of work; no machine gives that back while the test runs


class Work:
    """What hears, and the clock of what it takes."""

    worked_s = 0.0

    def __call__(self) -> float:
        return self.worked_s

    def hear(self, text: str) -> bool:
        if text == "long":
            self.worked_s += LONG_SECONDS
        if text == "wrong":
            self.worked_s += LONG_SECONDS
            raise ValueError(text)
        return text == "known"


def test_a_client_that_says_much_is_heard_later() -> None:
    work = Work()
    attention = Attention(attention_of_all(), work)
    assert attention.give(work.hear, "known")
    assert not attention.give(work.hear, "strange")
    for _ in range(90):
        assert not attention.is_spent, "an ordinary client says less"
        attention.give(work.hear, "known")
    for _ in range(900):
        attention.give(work.hear, "known")
    assert attention.is_spent


@pytest.mark.parametrize("text", ["long", "wrong"])
def test_what_a_message_takes_is_of_its_clients_share_and_of_that_of_all(text: str) -> None:
    work, of_all = Work(), attention_of_all()
    one, other = Attention(of_all, work), Attention(attention_of_all(), work)
    try:
        one.give(work.hear, text)
    except ValueError:
        assert text == "wrong"
    assert one.is_spent
    assert not other.is_spent, "of another gateway"
    assert Attention(of_all, work).is_spent, "it has said nothing yet, but neither shall pictures wait"
