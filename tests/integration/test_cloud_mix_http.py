"""What strangers, hurried and hostile ones send to the port of the CloudMix API."""

import http.client
import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from services.cloud_mix_proxy.edge.body import MAX_BODY_BYTES
from tests.support.cloud_mix import ROBOT, STUDIO, VERSION, Api, mixed_rules, served
from tests.support.pace import Patience

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]
PAGE = b'{"PageSize": 10, "Page": 1}'
LIST = f"/?Action=ListCloudMixTask&Version={VERSION}"


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with served(per_second=0, body_seconds=0.3) as found:
        yield found


def ask(
    api: Api,
    target: str = LIST,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    method: str = "POST",
    connection: http.client.HTTPConnection | None = None,
) -> tuple[int, dict[str, Any], dict[str, str]]:
    """(status, answer, headers)."""
    used = connection or api.connection()
    used.request(method, target, body or None, headers or {})
    response = used.getresponse()
    data = response.read()
    assert response.headers["Content-Type"].startswith("application/json"), data
    assert int(response.headers["Content-Length"]) == len(data)
    if connection is None:
        used.close()
    return response.status, json.loads(data or b"{}"), dict(response.headers)


def signed(api: Api, action: str, body: bytes = PAGE, key: tuple[str, str] = ROBOT) -> tuple[int, dict[str, Any]]:
    target, headers = api.signed(action, body, key)
    return ask(api, target, body, headers)[:2]


def error(answer: dict[str, Any]) -> tuple[int, str]:
    said = answer["ResponseMetadata"]["Error"]
    return said["CodeN"], said["Code"]


def test_before_the_signature(api: Api) -> None:
    rows = [
        ("POST", "/", 400, (100002, "MissingParameter")),
        ("POST", f"/?Version={VERSION}", 400, (100002, "MissingParameter")),
        ("POST", "/?Action=ListCloudMixTask", 400, (100002, "MissingParameter")),
        ("POST", f"/?Action=&Version={VERSION}", 400, (100002, "MissingParameter")),
        ("POST", f"/?Action=Nothing&Version={VERSION}", 404, (100008, "InvalidActionOrVersion")),
        ("POST", "/?Action=ListCloudMixTask&Version=2020-08-01", 404, (100008, "InvalidActionOrVersion")),
        ("POST", f"{LIST}&Action=DeleteCloudMixTask", 404, (100008, "InvalidActionOrVersion")),
        ("POST", f"/elsewhere{LIST[1:]}", 404, (100008, "InvalidActionOrVersion")),
        ("GET", LIST, 405, (100020, "MethodNotAllowed")),
        ("DELETE", LIST, 405, (100020, "MethodNotAllowed")),
        ("POST", LIST, 401, (100003, "MissingAuthenticationToken")),
        ("POST", f"{LIST}&X-Signature=abc", 400, (100024, "InvalidAuthorization")),
    ]
    connection = api.connection()  # all over one: what is refused costs nobody the connection
    for method, target, status, expected in rows:
        found, answer, headers = ask(api, target, PAGE, method=method, connection=connection)
        assert (found, error(answer)) == (status, expected), target
        assert "Result" not in answer
        assert answer["ResponseMetadata"]["Service"] == "live"
        assert headers["X-Request-Id"] == answer["ResponseMetadata"]["RequestId"]
        assert (headers.get("Allow") == "POST") == (status == 405)
    target, headers = api.signed("ListCloudMixTask", PAGE)
    assert ask(api, target, PAGE, headers, connection=connection)[0] == 200
    connection.close()


def test_tampered_requests(api: Api) -> None:
    target, good = api.signed("ListCloudMixTask", PAGE)
    assert ask(api, target, PAGE, good)[0] == 200
    rows: list[tuple[str, bytes, dict[str, str], str]] = [
        (target, PAGE.replace(b"10", b"11"), good, "SignatureDoesNotMatch"),
        (target.replace("List", "Create"), PAGE, good, "SignatureDoesNotMatch"),
        (f"{target}&a=b", PAGE, good, "SignatureDoesNotMatch"),
        (target, PAGE, {**good, "Host": "live.example"}, "SignatureDoesNotMatch"),
        (target, PAGE, {**good, "Content-Type": "text/plain"}, "SignatureDoesNotMatch"),
        (target, PAGE, {**good, "X-Content-Sha256": "0" * 64}, "SignatureDoesNotMatch"),
        (target, PAGE, {**good, "X-Date": "20200101T000000Z"}, "InvalidTimestamp"),
        (target, PAGE, {**good, "Authorization": "Bearer x"}, "InvalidAuthorization"),
        (target, PAGE, {**good, "Authorization": good["Authorization"].replace("AKLTROBOT", "AKLTSTUDIO")},
         "SignatureDoesNotMatch"),
        (target, PAGE, {**good, "Authorization": good["Authorization"].replace("live/", "vod/")}, "ServiceNotFound"),
    ]  # fmt: skip
    for asked, body, headers, expected in rows:
        status, answer, _ = ask(api, asked, body, headers)
        assert error(answer)[1] == expected, headers
        assert status in (400, 401, 404)
        assert answer["ResponseMetadata"]["Region"] == "cn-north-1"


def test_the_region_of_the_signature_is_that_of_the_answer(api: Api) -> None:
    target, headers = api.signed("ListCloudMixTask", PAGE, region="ap-somewhere-1")
    status, answer, _ = ask(api, target, PAGE, headers)
    assert (status, answer["ResponseMetadata"]["Region"]) == (200, "ap-somewhere-1")


def test_500_hostile_bodies(api: Api) -> None:
    """Signed ones, from whoever has a key: each has an answer, none of them is 5xx, and the port goes on."""
    made = random.Random(7)
    whole = {"Name": "hostile", "MixedRules": mixed_rules(3), "TaskID": "0" * 16, "PageSize": 10, "Page": 1}
    connection = api.connection()
    actions = [f"{verb}CloudMixTask" for verb in ("Create", "Update", "Delete", "List")] + ["GetCloudMixTaskDetail"]
    statuses = set()
    for number in range(500):
        body = hostile(made, whole)
        target, headers = api.signed(actions[number % len(actions)], body)
        status, answer, _ = ask(api, target, body, headers, connection=connection)
        assert status in (200, 400), (body[:200], answer)
        statuses.add(status)
        if status != 200:
            assert len(answer["Result"]["Message"]) < 1_000, answer
    assert statuses == {200, 400}
    connection.close()
    assert signed(api, "ListCloudMixTask")[0] == 200


def hostile(made: random.Random, whole: dict[str, Any]) -> bytes:
    text = json.dumps(whole).encode()
    kind = made.randrange(5)
    if kind == 0:  # cut off
        return text[: made.randrange(len(text))]
    if kind == 1:  # bytes changed
        changed = bytearray(text)
        for _ in range(made.randrange(1, 8)):
            changed[made.randrange(len(changed))] = made.randrange(256)
        return bytes(changed)
    if kind == 2:  # anything
        return made.randbytes(made.randrange(400))
    values: list[Any] = [None, True, -1, 0, 2**31, 2**70, 1e308, "", "x" * 5_000, [], {}, [[]] * 9, "\u0000", "😀"]
    copied = json.loads(text)
    for _ in range(made.randrange(1, 4)):
        place: Any = copied
        while True:  # down to somewhere
            key: Any = made.choice(list(place) if isinstance(place, dict) else range(len(place)))
            if isinstance(place[key], dict | list) and place[key] and made.random() < 0.8:
                place = place[key]
                continue
            place[key] = made.choice(values)
            break
    return json.dumps(copied, ensure_ascii=made.random() < 0.5).encode()


def test_too_often() -> None:
    with served() as api:
        connection = api.connection()
        statuses, waits = [], []
        for _ in range(30):
            target, headers = api.signed("ListCloudMixTask", PAGE)
            status, answer, said = ask(api, target, PAGE, headers, connection=connection)
            statuses.append(status)
            if status == 429:
                assert error(answer) == (100018, "FlowLimitExceeded")
                waits.append(said["Retry-After"])
        assert statuses[:10] == [200] * 10
        assert statuses.count(429) >= 5
        assert set(waits) == {"1"}
        assert signed(api, "GetCloudMixTaskDetail", b'{"TaskID": "0000000000000001"}')[0] == 400, "another action"
        assert signed(api, "ListCloudMixTask", key=STUDIO)[0] == 200, "another account"


def test_wrong_signatures_too_often() -> None:
    with served(per_second=0) as api:
        connection = api.connection()
        wrong = (ROBOT[0], STUDIO[1])
        codes = []
        for _ in range(130):
            target, headers = api.signed("ListCloudMixTask", PAGE, wrong)
            codes.append(error(ask(api, target, PAGE, headers, connection=connection)[1])[1])
        assert codes[:100] == ["SignatureDoesNotMatch"] * 100
        assert "FlowLimitExceeded" in codes
        assert signed(api, "ListCloudMixTask")[0] == 200, "whoever has the key is let in"
        assert api.admission.refused["SignatureDoesNotMatch"] == 130


def test_oversized_bodies(api: Api) -> None:
    body = b" " * MAX_BODY_BYTES + PAGE
    status, answer = signed(api, "ListCloudMixTask", body)
    assert (status, error(answer)) == (413, (413, "RequestTooLarge"))
    said = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n" % LIST.encode()
    assert b" 413 " in raw(api, said)
    chunked = b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" % LIST.encode()
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    assert b" 413 " in raw(api, chunked + chunk * 5)


def test_slow_bodies(api: Api) -> None:
    half = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 27\r\n\r\n{" % LIST.encode()
    assert b" 408 " in raw(api, half)


def test_what_the_headers_cannot_mean(api: Api) -> None:
    start = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n" % LIST.encode()
    assert b" 415 " in raw(api, start + b"Content-Encoding: gzip\r\n\r\n{}")
    assert b" 417 " in raw(api, start + b"Expect: miracles\r\n\r\n{}")
    assert b" 400 " in raw(api, start + b"X-Date: \xff\xfe\r\n\r\n{}")
    assert b" 400 " in raw(api, b"POST /?Action=\xff\xfe HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    assert b" 401 " in raw(api, start.replace(b"POST /", b"POST http://live.example/") + b"\r\n{}"), "as a proxy asks"


def raw(api: Api, data: bytes) -> bytes:
    """The first line of the answer."""
    with socket.create_connection(("127.0.0.1", api.port), timeout=20) as connection:
        connection.sendall(data)
        return connection.makefile("rb").readline()


def test_whoever_holds_connections_has_only_so_many() -> None:
    with served(most_connections=4) as api:
        held = [socket.create_connection(("127.0.0.1", api.port), timeout=20) for _ in range(4)]
        assert b" 429 " in raw(api, b"")
        for connection in held:
            connection.close()
        patience = Patience(5)
        while b" 429 " in raw(api, b"GET / HTTP/1.0\r\n\r\n"):
            assert not patience.is_over()
            time.sleep(0.02)


def test_an_action_that_takes_too_long() -> None:
    with served(action_seconds=0.2) as api:
        api.tasks.seconds = 30
        status, answer = signed(api, "ListCloudMixTask")
        assert (status, error(answer)) == (504, (100016, "InternalServiceTimeout"))


def test_without_keys_only_this_machine_is_answered() -> None:
    with served(keys=None) as api:
        assert signed(api, "ListCloudMixTask", key=("anything", "at all"))[0] == 200
        target, headers = api.signed("ListCloudMixTask", PAGE)
        status, answer, _ = ask(api, target, PAGE, {**headers, "Host": f"elsewhere.example:{api.port}"})
        assert (status, error(answer)) == (403, (100013, "AccessDenied"))
        status, answer, _ = ask(api, target, PAGE)
        assert status == 401, "a page of elsewhere cannot send this header unasked"


def test_many_at_once(api: Api) -> None:
    """Tasks of one account are made at once, with one of each name."""
    statuses: list[int] = []

    def create(number: int) -> None:
        body = json.dumps({"Name": f"many-{number % 4}", "MixedRules": mixed_rules()}).encode()
        statuses.append(signed(api, "CreateCloudMixTask", body)[0])

    threads = [threading.Thread(target=create, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] * 4 + [400] * 12


def test_answers_are_counted(api: Api) -> None:
    before = dict(api.exchange.answers)
    signed(api, "ListCloudMixTask")
    ask(api, f"/?Action=Whatever&Version={VERSION}", PAGE)
    grown = {key: count - before.get(key, 0) for key, count in api.exchange.answers.items()}
    assert {key: count for key, count in grown.items() if count} == {("ListCloudMixTask", "200"): 1, ("", "404"): 1}
