"""The bus's own reader: however the bytes are cut, each message goes to its receiver, and all else to nats-py."""

import random

import pytest
from nats.protocol.parser import Parser

from shared.bus.reader import MessageReader

pytestmark = pytest.mark.unit

PICTURE = bytes(range(256)) * 40  # with line ends in it
OURS = b"MSG mesh.v1.packets.cam0.main.video 7 %d\r\n%s\r\n" % (len(PICTURE), PICTURE)
WITH_REPLY = b"MSG mesh.v1.cmd.x  7\t_INBOX.1 2\r\nhi\r\n"  # fields may be any white space apart
WITH_HEADERS = b"HMSG mesh.v1.evt.a 7 14 16\r\nNATS/1.0\r\n A\r\nok\r\n"
EMPTY = b"MSG a 7 0\r\n\r\n"
OTHERS = b"MSG a 77 9\r\nMSG a 7 1\r\nHMSG a 8 r 12 12\r\nNATS/1.0\r\n\r\n\r\n"
LINES = b"PING\r\n+OK\r\n-ERR 'Slow Consumer'\r\n"


class Ends:
    """What came out on either side."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, bytes]] = []
        self.others = b""
        self.reader = MessageReader({b"7": lambda subject, data: self.taken.append((subject, data))}, self._pass_on)

    def _pass_on(self, data: bytes) -> None:
        assert data
        self.others += data


@pytest.mark.parametrize("piece_bytes", [1, 2, 3, 7, 64, 4096, 1 << 20])
def test_messages_are_taken_however_they_are_cut(piece_bytes: int) -> None:
    ends = Ends()
    data = LINES + OURS + OTHERS + WITH_REPLY + EMPTY + LINES + WITH_HEADERS + OURS + OTHERS
    for at in range(0, len(data), piece_bytes):
        ends.reader.feed(data[at : at + piece_bytes])
    picture = ("mesh.v1.packets.cam0.main.video", PICTURE)
    assert ends.taken == [picture, ("mesh.v1.cmd.x", b"hi"), ("a", b""), ("mesh.v1.evt.a", b"ok"), picture]
    assert ends.others == LINES + OTHERS + LINES + OTHERS


def test_a_receiver_is_gone_from_one_message_to_the_next() -> None:
    receivers = {b"7": lambda _subject, _data: receivers.clear()}
    others: list[bytes] = []
    MessageReader(receivers, others.append).feed(OURS + OURS)
    assert others == [OURS]


@pytest.mark.parametrize(
    "bad",
    [
        b"MSG a 7 x\r\nhi\r\n",
        b"MSG a 8 -9\r\nhi\r\n",
        b"HMSG a 8 3 2\r\nhi\r\n",
        b"MSG a 7\r\nhi\r\n",
        b"HMSG a 7 2\r\nhi\r\n",
        b"MSG a 7 r s 2\r\nhi\r\n",
        b"INFO " + b"x" * 70_000,
    ],
)
def test_what_no_server_says_is_left_to_nats_py_from_there_on(bad: bytes) -> None:
    ends = Ends()
    ends.reader.feed(OURS + LINES + bad)
    ends.reader.feed(OURS)
    assert len(ends.taken) == 1
    assert ends.others == LINES + bad + OURS


def _operation(chance: random.Random) -> bytes:
    """What a server says, with whatever it may hold."""
    subject = b"mesh.v1.%d" % chance.randrange(4)
    sid = b"%d" % chance.choice((7, 8, 77))
    reply = chance.choice((b"", b" _INBOX.a"))
    data = chance.choice((b"", b"\r\n", b"MSG a 7 5\r\nPING\r\n", chance.randbytes(chance.randrange(3000))))
    kind = chance.randrange(8)
    if kind == 0:
        return chance.choice((b"PING\r\n", b"PONG\r\n", b"+OK\r\n", b'INFO {"MSG a 7 2":1}\r\n'))
    if kind < 3:
        headers = b"NATS/1.0\r\nMSG a 7 9: HMSG\r\n\r\n"
        return b"HMSG %s %s%s %d %d\r\n%s%s\r\n" % (
            subject, sid, reply, len(headers), len(headers) + len(data), headers, data,
        )  # fmt: skip
    return b"MSG %s %s%s %d\r\n%s\r\n" % (subject, sid, reply, len(data), data)


class Heard:
    """What nats-py's parser makes of it, as its client would be told."""

    def __init__(self) -> None:
        self.operations: list[object] = []
        self.messages: list[tuple[int, str, bytes]] = []

    async def _process_msg(self, sid: int, subject: bytes, _reply: bytes, data: bytes, _headers: bytes) -> None:
        self.messages.append((sid, subject.decode(), data))

    async def _process_ping(self) -> None:
        self.operations.append("ping")

    async def _process_pong(self) -> None:
        self.operations.append("pong")

    async def _process_info(self, info: object) -> None:
        self.operations.append(info)


@pytest.mark.parametrize("seed", range(20))
async def test_nats_py_and_the_reader_tell_the_same(seed: int) -> None:
    """nats-py's own parser is the oracle: it gets all bytes, and beside it what the reader leaves."""
    chance = random.Random(seed)
    said = b"".join(_operation(chance) for _ in range(200))
    alone, beside, left = Heard(), Heard(), []
    receivers = {
        b"%d" % sid: lambda subject, data, sid=sid: beside.messages.append((sid, subject, data)) for sid in (7, 77)
    }
    reader = MessageReader(receivers, left.append)  # type: ignore[arg-type]
    at = 0
    while at < len(said):
        size = chance.choice((1, 5, 40, 500, 70_000))
        reader.feed(said[at : at + size])
        at += size
    await Parser(alone).parse(said)
    await Parser(beside).parse(b"".join(left))
    assert beside.operations == alone.operations
    for sid in (7, 8, 77):
        assert [m for m in beside.messages if m[0] == sid] == [m for m in alone.messages if m[0] == sid]
    assert len(alone.messages) > 100
