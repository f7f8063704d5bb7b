"""The bus's own reader: however the bytes are cut, each message goes to its receiver, and all else to nats-py."""

import pytest

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
        b"MSG \xff 7 2\r\nhi\r\n",
        b"INFO " + b"x" * 70_000,
    ],
)
def test_what_no_server_says_is_left_to_nats_py_from_there_on(bad: bytes) -> None:
    ends = Ends()
    ends.reader.feed(OURS + LINES + bad)
    ends.reader.feed(OURS)
    assert len(ends.taken) == 1
    assert ends.others == LINES + bad + OURS
