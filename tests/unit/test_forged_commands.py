"""Commands that came although nobody was allowed to send them."""

import pytest

from shared.bus.forged import why_forged

START = "mesh.v1.cmd.capture.start"


@pytest.mark.parametrize(
    ("subject", "reply", "headers", "why"),
    [
        (START, "_INBOX_cli.a.b", None, ""),
        (START, "", {"traceparent": "00-1-2-01"}, ""),
        ("$KV.mesh_actual.hw-encode.cam0--main", "", None, "a consumer delivers"),
        (START, "$KV.mesh_desired.capture.cam0", None, "nobody's inbox"),
        (START, "mesh.v1.cmd.capture.stop", None, "nobody's inbox"),
        (START, "", {"Nats-Stream": "KV_mesh_actual"}, "an answer of JetStream"),
        (START, "", {"Nats-Service-Error-Code": "400"}, "an answer of a service"),
    ],
)
def test_what_is_taken_and_what_is_not(subject: str, reply: str, headers: dict[str, str] | None, why: str) -> None:
    found = why_forged(subject, START, reply, headers)
    assert (why in found) if why else not found
