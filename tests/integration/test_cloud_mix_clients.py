"""The CloudMix API as its own clients meet it: unmodified, with nothing set but host, scheme and keys."""

import contextlib
import json
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import volcenginesdkcore
from volcengine.live.v20230101.live_service import LiveService
from volcenginesdkcore.rest import ApiException

from schemas.errors import BadRequest, Unavailable
from shared.bus import Bus
from tests.support.cloud_mix import ROBOT, STUDIO, Api, mixed_rules, served
from tests.support.mix_tasks import Parts, task_node
from tests.support.nats import NatsServer
from tests.support.pace import Patience
from tests.support.tls_front import certificate

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]
_REQUEST_ID = re.compile(r"20\d{12}[0-9A-F]{20}")
_TIME = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+08:00")
NEVER = {"Time": "0001-01-01T00:00:00Z"}
Call = Callable[[str, dict[str, Any]], Any]


@pytest.fixture(scope="module")
def bus_url() -> Iterator[str]:
    with NatsServer() as running:
        yield running.url


@pytest.fixture(scope="module", params=["http", "https"])
def api(request: pytest.FixtureRequest, bus_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Over http with the service's own tasks, whose parts say that they are there; over https with some in memory."""

    @contextlib.asynccontextmanager
    async def tasks() -> AsyncIterator[Any]:
        bus = await Bus.connect(bus_url, name="parts", timeout_seconds=5)
        parts = Parts(bus)
        await parts.open()
        async with task_node(bus_url) as node:
            yield node.tasks
        await bus.drain()

    if request.param == "https":
        with served(tls=certificate(tmp_path_factory.mktemp("tls")), per_second=0) as found:
            yield found
    else:
        with served(per_second=0, tasks=tasks) as found:
            yield found


@pytest.fixture(autouse=True)
def _nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The clients look at the environment."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "VOLC_ACCESSKEY", "VOLC_SECRETKEY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "")  # set by `live`, and taken back with this


def live(api: Api, key: tuple[str, str] = ROBOT) -> LiveService:
    if api.ca_file is not None:
        os.environ["REQUESTS_CA_BUNDLE"] = str(api.ca_file)
    service = LiveService()
    service.set_ak(key[0])
    service.set_sk(key[1])
    service.set_host(f"127.0.0.1:{api.port}")
    service.set_scheme("https" if api.ca_file else "http")
    return service


def universal(api: Api, key: tuple[str, str] = ROBOT) -> Call:
    configuration = volcenginesdkcore.Configuration()
    configuration.ak, configuration.sk = key
    configuration.region = "cn-beijing"
    configuration.host = f"127.0.0.1:{api.port}"
    configuration.scheme = "https" if api.ca_file else "http"
    configuration.ssl_ca_cert = str(api.ca_file) if api.ca_file else None
    client = volcenginesdkcore.UniversalApi(volcenginesdkcore.ApiClient(configuration))

    def call(action: str, body: dict[str, Any]) -> Any:
        info = volcenginesdkcore.UniversalInfo(
            method="POST", service="live", version="2023-01-01", action=action, content_type="application/json"
        )
        return client.do_call(info, body)

    return call


def until(service: LiveService, task: str, **fields: object) -> None:
    """Wait for a task's detail to have these."""
    patience = Patience(15)
    while True:
        detail = service.get_cloud_mix_task_detail({"TaskID": task})["Result"]["Data"]
        if all(detail[name] == value for name, value in fields.items()):
            return
        assert not patience.is_over(), detail
        time.sleep(0.05)


def test_the_five_examples(api: Api) -> None:
    service = live(api)
    name = f"examples-{api.port}"
    created = service.create_cloud_mix_task({"Name": name, "MixedRules": mixed_rules()})
    assert list(created) == ["ResponseMetadata", "Result"]
    metadata, result = created["ResponseMetadata"], created["Result"]
    assert _REQUEST_ID.fullmatch(metadata["RequestId"])
    assert metadata["RequestID"] == metadata["RequestId"]
    assert {name: metadata[name] for name in ("Action", "Version", "Service", "Region")} == {
        "Action": "CreateCloudMixTask",
        "Version": "2023-01-01",
        "Service": "live",
        "Region": "cn-north-1",
    }
    assert (result["Code"], result["Message"], list(result["Data"])) == (0, "success", ["TaskID"])
    task = result["Data"]["TaskID"]
    assert re.fullmatch("[0-9a-f]{16}", task)

    until(service, task, Status="runing", LastSuccessOperationIndex=1)
    rules = mixed_rules(2)
    del rules["Output"]["Callback"]
    assert service.update_cloud_mix_task({"TaskID": task, "MixedRules": rules})["Result"]["Data"] == {"OptID": 2}
    until(service, task, LastSuccessOperationIndex=2)

    found = service.list_cloud_mix_task({"PageSize": 10, "Page": 1})["Result"]["Data"]
    assert found["Count"] == len(found["Result"])
    listed = found["Result"][0]
    assert (listed["TaskID"], listed["Name"], listed["Status"]) == (task, name, "runing")
    assert _TIME.fullmatch(listed["CreatedAt"]["Time"])
    age = datetime.now(UTC) - datetime.fromisoformat(listed["CreatedAt"]["Time"])
    assert -2 < age.total_seconds() < 60
    assert listed["StoppedAt"] == NEVER

    detail = service.get_cloud_mix_task_detail({"TaskID": task})["Result"]["Data"]
    assert (detail["TaskID"], detail["Status"]) == (task, "runing")
    assert (detail["LastOperationIndex"], detail["LastSuccessOperationIndex"]) == (2, 2)
    assert json.loads(detail["Rule"]) == mixed_rules(2), "an update leaves the callback as it was"

    ended = service.delete_cloud_mix_task({"TaskID": task})["Result"]["Data"]
    assert ended == f"kill task [{task}] success"
    until(service, task, Status="done")
    listed = service.list_cloud_mix_task({"PageSize": 10, "Page": 0})["Result"]["Data"]["Result"][0]
    assert listed["Status"] == "done"
    assert _TIME.fullmatch(listed["StoppedAt"]["Time"])
    pools = service.session.get_adapter("http://" if api.ca_file is None else "https://").poolmanager.pools
    assert [pools[key].num_connections for key in pools.keys()] == [1], "one connection for all of it"  # noqa: SIM118


def test_the_newer_client(api: Api) -> None:
    call = universal(api)
    name = f"newer-{api.port}"
    task = call("CreateCloudMixTask", {"Name": name, "MixedRules": mixed_rules()})["Data"]["TaskID"]
    assert call("GetCloudMixTaskDetail", {"TaskID": task})["Data"]["Status"] in ("pending", "prepare", "runing")
    assert call("ListCloudMixTask", {"PageSize": 100, "Page": 1})["Data"]["Result"][0]["TaskID"] == task
    assert call("UpdateCloudMixTask", {"TaskID": task, "MixedRules": mixed_rules()})["Data"]["OptID"] == 2
    assert call("DeleteCloudMixTask", {"TaskID": task})["Data"].startswith(f"kill task [{task}]")


def test_another_account_sees_nothing(api: Api) -> None:
    mine = live(api).create_cloud_mix_task({"Name": f"mine-{api.port}", "MixedRules": mixed_rules()})["Result"]["Data"][
        "TaskID"
    ]
    theirs = universal(api, STUDIO)
    assert theirs("ListCloudMixTask", {"PageSize": 10, "Page": 1})["Data"] == {"Count": 0, "Result": []}
    for action in ("GetCloudMixTaskDetail", "DeleteCloudMixTask"):
        assert error_of(lambda action=action: theirs(action, {"TaskID": mine}))["Code"].endswith("ActiveTaskNotFound")
    live(api).delete_cloud_mix_task({"TaskID": mine})


def error_of(call: Callable[[], object]) -> dict[str, Any]:
    """What a client's exception tells of."""
    with pytest.raises(Exception) as raised:  # noqa: PT011  # the older one raises nothing narrower
        call()
    error = raised.value
    body = json.loads(error.body if isinstance(error, ApiException) else error.args[0])
    said = body["ResponseMetadata"]["Error"]
    if said["CodeN"] == 400 or said["CodeN"] == 100002:
        assert body["Result"] == {"Code": 400, "Message": said["Message"], "Data": None}
    else:
        assert "Result" not in body
    return dict(said)


def test_errors_as_the_clients_see_them(api: Api) -> None:
    service, call = live(api), universal(api)
    rules = mixed_rules()
    rules["Output"]["Video"]["GOP"] = 11
    body = {"Name": "bad", "MixedRules": rules}
    expected = {
        "CodeN": 400,
        "Code": "InvalidParameter",
        "Message": "MixedRules.Output.Video.GOP 11: expected `int` <= 10",
    }
    assert error_of(lambda: service.create_cloud_mix_task(body)) == expected
    assert error_of(lambda: call("CreateCloudMixTask", body)) == expected
    missing = error_of(lambda: service.get_cloud_mix_task_detail({}))
    assert (missing["CodeN"], missing["Code"]) == (100002, "MissingParameter")
    unknown = error_of(lambda: service.delete_cloud_mix_task({"TaskID": "f" * 16}))
    assert unknown["Code"] == "InvalidParameter.ErrorActiveTaskNotFound"
    assert error_of(lambda: call("StartCloudMixTask", {}))["CodeN"] == 100008
    wrong = live(api, (ROBOT[0], STUDIO[1]))
    assert error_of(lambda: wrong.list_cloud_mix_task({"PageSize": 1, "Page": 1}))["CodeN"] == 100010
    nobody = live(api, ("AKLTNOBODY", STUDIO[1]))
    said = error_of(lambda: nobody.list_cloud_mix_task({"PageSize": 1, "Page": 1}))
    assert said["Message"] == "The accesskey [AKLTNOBODY] included in the request is invalid."


@pytest.mark.parametrize("api", ["http"], indirect=True)
def test_a_name_in_progress_is_taken(api: Api) -> None:
    service = live(api)
    body = {"Name": f"once-{api.port}", "MixedRules": mixed_rules()}
    task = service.create_cloud_mix_task(body)["Result"]["Data"]["TaskID"]
    assert error_of(lambda: service.create_cloud_mix_task(body))["Code"] == "InvalidParameter.TaskAlreadyExists"
    service.delete_cloud_mix_task({"TaskID": task})
    until(service, task, Status="done")
    task = service.create_cloud_mix_task(body)["Result"]["Data"]["TaskID"]
    service.delete_cloud_mix_task({"TaskID": task})


def test_a_creation_that_is_tried_again_makes_one_task(api: Api) -> None:
    """The newer client tries again by itself; here its first answer is that something does not answer."""
    call, tasks, made = universal(api), api.tasks, []
    create = tasks.create

    async def lost(*arguments: Any) -> str:
        made.append(await create(*arguments))
        raise Unavailable("the bus went away just then")

    tasks.create = lost
    try:
        said = error_of(lambda: call("CreateCloudMixTask", {"Name": f"again-{api.port}", "MixedRules": mixed_rules()}))
    finally:
        del tasks.create
    assert said["Code"] == "InvalidParameter.TaskAlreadyExists"
    assert len(made) == 1
    call("DeleteCloudMixTask", {"TaskID": made[0]})


@pytest.mark.parametrize("api", ["http"], indirect=True)
def test_an_update_cannot_change_the_output(api: Api) -> None:
    service = live(api)
    body = {"Name": f"kept-{api.port}", "MixedRules": mixed_rules()}
    body["MixedRules"]["Output"]["Video"]["FrameRate"] = 99
    task = service.create_cloud_mix_task(body)["Result"]["Data"]["TaskID"]
    until(service, task, Status="runing")
    changes: dict[str, Any] = {
        "Url": ["push.example.com"],
        "Audio": {**mixed_rules()["Output"]["Audio"], "BitRate": 128_000},
        "Video": {**mixed_rules()["Output"]["Video"], "GOP": 3},
    }
    for name, value in changes.items():
        rules = mixed_rules()
        rules["Output"] = {**body["MixedRules"]["Output"], name: value}
        said = error_of(lambda rules=rules: service.update_cloud_mix_task({"TaskID": task, "MixedRules": rules}))
        assert said["Code"] == "InvalidParameter"
        assert f"MixedRules.Output.{name}" in said["Message"]
    rules = mixed_rules(2)
    rules["Output"]["Video"]["FrameRate"] = 60  # what 99 was corrected to
    rules["Output"]["Callback"]["Url"] = "https://another.example"
    assert service.update_cloud_mix_task({"TaskID": task, "MixedRules": rules})["Result"]["Data"] == {"OptID": 2}
    detail = service.get_cloud_mix_task_detail({"TaskID": task})["Result"]["Data"]
    assert json.loads(detail["Rule"])["Output"]["Callback"] == {"Url": "https://callback.com"}
    service.delete_cloud_mix_task({"TaskID": task})
    until(service, task, Status="done")
    said = error_of(lambda: service.update_cloud_mix_task({"TaskID": task, "MixedRules": rules}))
    assert said["Code"] == "InvalidParameter.ErrorActiveTaskNotFound"


@pytest.mark.parametrize("api", ["http"], indirect=True)
def test_the_program_of_the_docs(api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "mixing.md").read_text()
    program = next(block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "LiveService" in block)
    monkeypatch.setenv("MIX_HOST", f"127.0.0.1:{api.port}")
    monkeypatch.setenv("VOLC_ACCESSKEY", ROBOT[0])
    monkeypatch.setenv("VOLC_SECRETKEY", ROBOT[1])
    exec(compile(program, "docs/mixing.md", "exec"), {})  # noqa: S102
    assert re.fullmatch(r"[0-9a-f]{16} runing\n", capsys.readouterr().out)


def test_what_goes_wrong_inside_stays_inside() -> None:
    failures = {
        BadRequest("Output.Url: cannot change"): ("InvalidParameter", "cannot change"),
        Unavailable("nats://10.0.0.7:4222"): ("FailToConnect", "try again"),
        RuntimeError("secret"): ("InternalError", "RequestId"),
    }
    with served() as api:
        service = live(api)
        for failure, (code, text) in failures.items():
            api.tasks.failure = failure
            said = error_of(lambda: service.list_cloud_mix_task({"PageSize": 1, "Page": 1}))
            assert said["Code"] == code
            assert text in said["Message"]
            assert "10.0.0.7" not in said["Message"]
            assert "secret" not in said["Message"]
