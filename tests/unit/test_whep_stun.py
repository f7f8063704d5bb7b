"""ICE-lite's answers: right for who knows the password, silence for all others."""

import pytest
from aioice import stun
from hypothesis import given
from hypothesis import strategies as st

from services.webrtc_gateway.transport.stun import answer_binding

pytestmark = pytest.mark.unit
PASSWORD = "0123456789abcdefghijkl"
ADDRESS = ("192.0.2.7", 40_000)


def password_of(ufrag: str) -> str | None:
    return PASSWORD if ufrag == "ours" else None


def request(
    *, username: str = "ours:theirs", password: str = PASSWORD, role: str = "ICE-CONTROLLING", nominate: bool = False
) -> bytes:
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    message.attributes["USERNAME"] = username
    message.attributes["PRIORITY"] = 1
    message.attributes[role] = 7
    if nominate:
        message.attributes["USE-CANDIDATE"] = None
    message.add_message_integrity(password.encode())
    return bytes(message)


@pytest.mark.parametrize("address", [ADDRESS, ("2001:db8::1", 9)])
@pytest.mark.parametrize("nominate", [False, True])
def test_a_good_request_is_answered(address: tuple[str, int], nominate: bool) -> None:
    datagram = request(nominate=nominate)
    answer = answer_binding(datagram, address, password_of)
    assert answer is not None
    assert (answer.ufrag, answer.use_candidate, answer.role_conflict) == ("ours", nominate, False)
    reply = stun.parse_message(answer.reply)
    assert reply.message_class == stun.Class.RESPONSE
    assert reply.transaction_id == stun.parse_message(datagram).transaction_id
    assert reply.attributes["XOR-MAPPED-ADDRESS"] == address
    assert reply.check_message_integrity(PASSWORD.encode())
    assert "FINGERPRINT" in reply.attributes


def test_a_controlled_peer_is_told_to_control() -> None:
    answer = answer_binding(request(role="ICE-CONTROLLED"), ADDRESS, password_of)
    assert answer is not None
    assert answer.role_conflict
    reply = stun.parse_message(answer.reply)
    assert reply.error_code == 487
    assert reply.check_message_integrity(PASSWORD.encode())


def test_strangers_get_silence() -> None:
    assert answer_binding(request(password="wrong" * 5), ADDRESS, password_of) is None
    assert answer_binding(request(username="other:theirs"), ADDRESS, password_of) is None
    assert answer_binding(request(username=""), ADDRESS, password_of) is None
    bare = stun.Message(stun.Method.BINDING, stun.Class.REQUEST, attributes={"USERNAME": "ours:theirs"})
    bare.add_fingerprint()
    assert answer_binding(bytes(bare), ADDRESS, password_of) is None
    response = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, attributes={"USERNAME": "ours:theirs"})
    response.add_message_integrity(PASSWORD.encode())
    assert answer_binding(bytes(response), ADDRESS, password_of) is None


@given(st.integers(0, len(request()) - stun.FINGERPRINT_LENGTH - 1), st.integers(1, 255))
def test_one_changed_byte_is_noticed(position: int, change: int) -> None:
    datagram = bytearray(request())
    datagram[position] ^= change
    assert answer_binding(bytes(datagram), ADDRESS, password_of) is None


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=100).map(lambda tail: request()[:40] + tail)))
def test_hostile_bytes(datagram: bytes) -> None:
    assert answer_binding(datagram, ADDRESS, password_of) is None


@given(
    st.lists(st.tuples(st.sampled_from([1, 6, 8, 9, 0x20, 0x25, 0x8028, 0x8029]), st.binary(max_size=24)), max_size=6)
)
def test_hostile_attributes(attributes: list[tuple[int, bytes]]) -> None:
    body = b"".join(
        kind.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value + bytes(-len(value) % 4)
        for kind, value in attributes
    )
    head = b"\x00\x01" + len(body).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + bytes(12)
    assert answer_binding(head + body, ADDRESS, password_of) is None
