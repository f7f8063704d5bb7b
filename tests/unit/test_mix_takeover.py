"""Which tasks of others a node takes that cannot ask the cloud."""

from typing import Any

import pytest
from msgspec.structs import replace

from schemas.mix_tasks import TaskNotice, TaskRecord
from services.cloud_mix_proxy.tasks.settings import TaskSettings
from services.cloud_mix_proxy.tasks.takeover import may_take
from tests.support.mix_tasks import rules

MINUTE_NS, HOUR_NS = 60 * 10**9, 3_600 * 10**9
MADE_NS = 1_700_000_000 * 10**9
RECORD = TaskRecord(
    task="00c0ffee00c0ffee",
    owner="robot",
    name="show",
    status="runing",
    rules=rules(),
    created_ns=MADE_NS,
    updated_ns=MADE_NS,
    node="edge1",
    place="cloud",
    cloud_task="theirs",
)
TOLD = TaskNotice(number=1, status="done", at_ns=MADE_NS)


@pytest.mark.parametrize(
    ("fields", "after_ns", "taken"),
    [
        ({}, HOUR_NS, False),
        ({}, 73 * HOUR_NS, True),
        ({"status": "prepare"}, HOUR_NS, False),
        ({"node": "edge2"}, 0, True),
        ({"place": "local", "cloud_task": ""}, 0, True),
        ({"place": "local", "cloud_left": True}, 0, True),
        ({"status": "pending", "cloud_task": ""}, 10 * 10**9, False),
        ({"status": "pending", "cloud_task": ""}, MINUTE_NS, True),
        ({"stopping": True}, MINUTE_NS, False),
        ({"status": "prestop"}, MINUTE_NS, False),
        ({"stopping": True}, 2 * HOUR_NS, True),
        ({"status": "done", "cloud_left": True}, 100 * HOUR_NS, False),
        ({"status": "done", "untold": (TOLD,)}, 0, True),
    ],
)
def test_what_is_in_a_cloud_waits_for_who_can_ask_it(fields: dict[str, Any], after_ns: int, taken: bool) -> None:
    record = replace(RECORD, **fields)
    here = TaskSettings(node="edge2")
    assert may_take(record, "edge2", here, MADE_NS + after_ns) == taken
    clouded = TaskSettings(node="edge2", upstream_url="http://cloud.example.com")
    assert may_take(record, "edge2", clouded, MADE_NS + after_ns)
