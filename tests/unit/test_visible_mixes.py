"""What a token for some streams sees of mixes: none that shows a stream that is not its business."""

import msgspec
import pytest

from schemas.commands import MeshStatus
from schemas.mix_resources import MixEntry, MixInput, MixSpec
from schemas.mixes import MixList
from services.webrtc_gateway.auth.grant import EVERYTHING, Grant
from services.webrtc_gateway.auth.visible import visible_message, visible_status
from services.webrtc_gateway.commands.table import find_command

pytestmark = pytest.mark.unit

STATUS = MeshStatus(
    mixes=tuple(
        MixEntry(revision=1, spec=MixSpec(mix=mix, inputs=tuple(MixInput(input=f"in{n}", source=source)
                                                                for n, source in enumerate(sources))))
        for mix, sources in (
            ("line-wall", ("mesh://line-1", "mesh://line-2", "file://logo.png")),
            ("line-and-office", ("mesh://line-1", "mesh://office")),
            ("office-wall", ("mesh://line-1",)),
        )
    )
)  # fmt: skip
LINE = Grant("line", "line", ("line-*",), frozenset(("view",)))


def test_mixes_are_told_to_who_may_see_all_that_they_show() -> None:
    assert [entry.spec.mix for entry in visible_status(STATUS, LINE).mixes] == ["line-wall"]
    assert visible_status(STATUS, EVERYTHING).mixes == STATUS.mixes
    told = visible_message(msgspec.json.encode({"type": "status", "status": STATUS}), LINE)
    assert told is not None
    assert b"line-wall" in told
    assert b"office" not in told


def test_the_list_of_mixes_likewise() -> None:
    command, reply = find_command("cloud-mix-proxy.list"), msgspec.json.encode(MixList(mixes=STATUS.mixes))
    assert command.is_list
    listed = msgspec.json.decode(command.visible(reply, LINE), type=MixList)
    assert [entry.spec.mix for entry in listed.mixes] == ["line-wall"]
    assert command.visible(reply, EVERYTHING) == reply
