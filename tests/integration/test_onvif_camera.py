"""The ONVIF client against a camera that checks logins, has a clock of its own, and sometimes is no camera."""

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from schemas.capture_commands import PtzRequest, PtzStatus
from schemas.errors import Conflict, InvalidValue, MeshError, Unavailable
from services.capture.onvif.device import OnvifDevice, Profile, Services
from services.capture.onvif.events import EventPull
from services.capture.onvif.ptz import Ptz
from services.capture.onvif.transport import Transport
from shared.netguard import Policy, check
from tests.support.onvif_device import PASSWORD, USERINFO, Camera, onvif_device
from tests.support.onvif_device import OnvifDevice as Device
from tests.support.peers import free_port, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

POLICY = Policy(schemes=frozenset(("onvif",)), allow_private=True)
SECONDS = 3.0
STREAM_URI = "rtsp://127.0.0.1:8554/{token}"
FAULT = (
    b'<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"><e:Body><e:Fault><e:Reason><e:Text>Not here'
    b"</e:Text></e:Reason></e:Fault></e:Body></e:Envelope>"
)


def transport_to(device: Device, **changes: str) -> Transport:
    return Transport(check(device.url(**changes), POLICY))


def connect(transport: Transport, profile: str = "") -> tuple[str, Services, Profile | None]:
    device = OnvifDevice(transport, time.monotonic() + SECONDS)
    device.take_clock()
    services = device.services()
    chosen, movable = device.profile(services, profile)
    return device.stream_uri(services, chosen, "auto"), services, movable


@pytest.mark.parametrize("login", ["token", "digest", "digest-sha256", ""])
@pytest.mark.parametrize("hours", [0, 1, -1])
def test_every_login_and_a_clock_that_is_off(login: str, hours: int) -> None:
    camera = Camera(stream_uri=STREAM_URI, login=login, clock_offset=timedelta(hours=hours))
    with onvif_device(camera) as device:
        uri, services, movable = connect(transport_to(device))
    assert uri == f"rtsp://{USERINFO}@127.0.0.1:8554/tok_main"
    assert services.events
    assert movable is not None
    assert camera.refused == (3 if "digest" in login else 0)  # each is challenged once


@pytest.mark.parametrize("wanted", ["tok_sub", "sub"])
def test_a_profile_by_token_or_name(wanted: str) -> None:
    with onvif_device(Camera(stream_uri=STREAM_URI)) as device:
        assert connect(transport_to(device), wanted)[0].endswith("/tok_sub")
        with pytest.raises(InvalidValue, match="no such profile; use one of sound only, Main stream, sub"):
            connect(transport_to(device), "4k")


@pytest.mark.parametrize("login", ["token", "digest"])
def test_a_wrong_password_is_one_clear_error(login: str) -> None:
    camera = Camera(stream_uri=STREAM_URI, login=login)
    with onvif_device(camera) as device:
        wrong = transport_to(device, userinfo="admin:secret-guess")
        with pytest.raises(Unavailable, match="check user name and password") as caught:
            connect(wrong)
        with pytest.raises(Unavailable, match="check user name and password"):
            connect(transport_to(device, userinfo=""))
    assert "secret-guess" not in str(caught.value)
    assert PASSWORD not in str(caught.value)
    # Few attempts: cameras lock an account after some.
    assert camera.refused <= 4


def test_no_password_in_clear_text_for_whoever_asks() -> None:
    camera = Camera(stream_uri=STREAM_URI, login="basic")
    with onvif_device(camera) as device, pytest.raises(Unavailable, match="clear text"):
        connect(transport_to(device))


@pytest.mark.parametrize(
    ("uri", "leads_to"),
    [
        ("rtsp://10.1.2.3:8554/x?a=1&b=2", f"rtsp://{USERINFO}@127.0.0.1:8554/x?a=1&b=2"),
        ("rtsp://camera.example/x", f"rtsp://{USERINFO}@127.0.0.1:554/x"),
        ("rtsp://root:toor@169.254.169.254/x", f"rtsp://{USERINFO}@127.0.0.1:554/x"),
        ("rtsps://127.0.0.1/x", f"rtsps://{USERINFO}@127.0.0.1:322/x"),
    ],
)
def test_pictures_come_from_the_host_that_was_asked(uri: str, leads_to: str) -> None:
    with onvif_device(Camera(stream_uri=uri)) as device:
        assert connect(transport_to(device))[0] == leads_to


@pytest.mark.parametrize(
    "uri", ["file:///etc/passwd", "http://127.0.0.1/x", "concat:a|b", "rtsp://[::", "", "rtsp://h:99999/"]
)
def test_other_urls_are_refused(uri: str) -> None:
    with onvif_device(Camera(stream_uri=uri)) as device, pytest.raises(Unavailable, match="no RTSP URL"):
        connect(transport_to(device))


def test_forbidden_addresses() -> None:
    for host in ("169.254.169.254", "[fe80::1]", "0.0.0.0", "239.255.255.250"):
        with pytest.raises(InvalidValue, match="may not be reached"):
            check(f"onvif://u:p@{host}/", POLICY)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b'<!DOCTYPE l [<!ENTITY x "y">]><l>&x;</l>', "document type"),
        (b"<l>" + b" " * (10 << 20) + b"</l>", "more than"),
        (b"<html/>", "no SOAP message"),
        (b"", "cannot be read"),
    ],
    ids=["laughs", "10MB", "html", "empty"],
)
def test_hostile_answers(answer: bytes, says: str) -> None:
    with onvif_device(Camera(answers={"GetCapabilities": answer})) as device, pytest.raises(Unavailable, match=says):
        connect(transport_to(device))


def test_slow_answers_have_a_deadline() -> None:
    # Never silent for longer than any read would wait.
    camera = Camera(stream_uri=STREAM_URI, drip_seconds=0.1)
    with onvif_device(camera) as device:
        transport = transport_to(device)
        began = time.monotonic()
        with pytest.raises(Unavailable, match=r"no answer within|too slowly"):
            OnvifDevice(transport, began + 1.0).services()
        assert time.monotonic() - began < 3.0


def test_the_deadline_holds_for_question_and_login_together() -> None:
    camera = Camera(stream_uri=STREAM_URI, login="digest", think_seconds=0.7)
    with onvif_device(camera) as device:
        began = time.monotonic()
        with pytest.raises(Unavailable, match="no answer within 1 s"):
            transport_to(device).call("", "<GetCapabilities/>", seconds=1.0)
        assert time.monotonic() - began < 1.3


def test_nobody_there() -> None:
    with pytest.raises(Unavailable, match="is ONVIF switched on"):
        connect(Transport(check(f"onvif://127.0.0.1:{free_port()}/", POLICY)))


# -- PTZ -----------------------------------------------------------------------------------------------------


@contextmanager
def ptz_of(camera: Camera) -> Iterator[Ptz]:
    with onvif_device(camera) as device:
        transport = transport_to(device)
        _, services, movable = connect(transport)
        assert movable is not None
        ptz = Ptz(transport, services.ptz, movable)
        try:
            yield ptz
        finally:
            ptz.close()
            transport.abort()


def actions(camera: Camera) -> list[str]:
    return [action for _, action, _ in camera.moves]


def test_a_move_ends_by_itself() -> None:
    camera = Camera(stream_uri=STREAM_URI)
    with ptz_of(camera) as ptz:
        status = ptz.do(PtzRequest(action="move", pan=-0.5, tilt=0.25, zoom=1, duration="300ms"))
        assert status == PtzStatus(pan=0.25, tilt=-0.5, zoom=None, moving=True)
        wait_until(lambda: len(camera.moves) == 2, SECONDS, "the camera is told to stop")
    (moved, _, said), (stopped, _, _) = camera.moves
    assert actions(camera) == ["ContinuousMove", "Stop"]
    assert "'x': '-0.5', 'y': '0.25'" in said
    assert "Timeout PT1S" in said
    assert 0.25 < stopped - moved < 2.5


def test_a_new_command_takes_the_place_of_the_one_before() -> None:
    camera = Camera(stream_uri=STREAM_URI)
    with ptz_of(camera) as ptz:
        ptz.do(PtzRequest(action="move", pan=1, duration="300ms"))
        ptz.do(PtzRequest(action="move", pan=-1, duration="20s"))
        time.sleep(0.8)  # the first one's end must not come
        assert actions(camera) == ["ContinuousMove", "ContinuousMove"]
        assert ptz.do(PtzRequest(action="stop")).moving is False
        ptz.do(PtzRequest(action="move", tilt=1, duration="30s"))
        ptz.close()
        with pytest.raises(Unavailable, match="opened again"):  # nobody would end it
            ptz.do(PtzRequest(action="move", tilt=1))
    # The stream has ended in the middle of a move.
    assert actions(camera) == ["ContinuousMove", "ContinuousMove", "Stop", "ContinuousMove", "Stop"]
    assert "PT30S" in camera.moves[3][2]


def test_positions_and_presets() -> None:
    camera = Camera(stream_uri=STREAM_URI, presets=(("1", "door"), ("2", ""), ("3", "door")))
    with ptz_of(camera) as ptz:
        ptz.do(PtzRequest(action="go-to", pan=0.1, tilt=-0.2, zoom=0.5))
        ptz.do(PtzRequest(action="preset", preset="door"))
        ptz.do(PtzRequest(action="preset", preset="3"))
        ptz.do(PtzRequest(action="home"))
        with pytest.raises(InvalidValue, match="preset 'window': the camera has no such preset; use one of door, 2, 3"):
            ptz.do(PtzRequest(action="preset", preset="window"))
        assert ptz.do(PtzRequest(action="status")).presets == ("door", "2", "3")
    assert actions(camera) == ["AbsoluteMove", "GotoPreset", "GotoPreset", "GotoHomePosition"]
    assert "Zoom {'x': '0.5'}" in camera.moves[0][2]
    assert "PresetToken 1" in camera.moves[1][2]
    assert "PresetToken 3" in camera.moves[2][2]


def test_what_the_camera_cannot_do() -> None:
    camera = Camera(stream_uri=STREAM_URI)
    with ptz_of(camera) as ptz:
        camera.answers["GotoHomePosition"] = FAULT
        with pytest.raises(Conflict, match=r"Not here.*cannot home"):
            ptz.do(PtzRequest(action="home"))
        # One that does not know where it looks still moves.
        camera.answers["GetStatus"] = FAULT
        assert ptz.do(PtzRequest(action="stop")) == PtzStatus()


def test_a_command_that_fails_leaves_the_end_of_the_move_before() -> None:
    camera = Camera(stream_uri=STREAM_URI)
    with ptz_of(camera) as ptz:
        ptz.do(PtzRequest(action="move", pan=1, duration="800ms"))
        with pytest.raises(InvalidValue, match="no such preset"):
            ptz.do(PtzRequest(action="preset", preset="window"))
        camera.answers["GotoHomePosition"] = camera.answers["ContinuousMove"] = FAULT
        for action in ("home", "move"):
            with pytest.raises(Conflict, match="Not here"):
                ptz.do(PtzRequest(action=action, pan=-1, duration="20s"))
        camera.answers["Stop"] = b"<html/>"
        with pytest.raises(Unavailable):
            ptz.do(PtzRequest(action="stop"))
        del camera.answers["Stop"]
        wait_until(lambda: actions(camera) == ["ContinuousMove", "Stop"], SECONDS, "the camera is told to stop")


def test_a_command_under_way_does_not_hold_up_the_end() -> None:
    def ask(ptz: Ptz) -> None:
        with pytest.raises(Unavailable):
            ptz.do(PtzRequest(action="status"))

    camera = Camera(stream_uri=STREAM_URI)
    with ptz_of(camera) as ptz:
        camera.drip_seconds = 0.05
        asking = threading.Thread(target=ask, args=(ptz,))
        asking.start()
        wait_until(lambda: "GetPresets" in camera.calls, SECONDS, "the camera is asked")
        began = time.monotonic()
        ptz.close()
        assert time.monotonic() - began < 1.5  # 4 s are what the command may take
        asking.join(SECONDS)


def test_a_stop_that_is_lost_is_told_again() -> None:
    camera = Camera(stream_uri=STREAM_URI)
    with ptz_of(camera) as ptz:
        camera.answers["Stop"] = b"<html/>"
        ptz.do(PtzRequest(action="move", pan=1, duration="100ms"))
        wait_until(lambda: camera.calls.count("Stop") == 3, SECONDS, "three attempts")


# -- events --------------------------------------------------------------------------------------------------

MOTION = "tns1:RuleEngine/CellMotionDetector/Motion"


class Heard:
    def __init__(self) -> None:
        self.events: queue.Queue[dict[str, Any]] = queue.Queue()
        self.dropped = 0

    def drop(self) -> None:
        self.dropped += 1


@contextmanager
def hearing(camera: Camera, renew_seconds: float = 20.0) -> Iterator[Heard]:
    heard = Heard()
    with onvif_device(camera) as device:
        transport = transport_to(device)
        services = connect(transport)[1]
        events = EventPull(transport, services.events, "cam0", heard.events.put, heard.drop, renew_seconds)
        events.start()
        try:
            wait_until(lambda: "PullMessages" in camera.calls, SECONDS, "the camera is asked")
            yield heard
        finally:
            began = time.monotonic()
            events.close()
            transport.abort()
            assert time.monotonic() - began < 3.0


@pytest.mark.parametrize("event_port", [False, True])
def test_an_event_comes_when_it_happens(event_port: bool) -> None:
    camera = Camera(stream_uri=STREAM_URI, event_port=event_port, login="digest")
    with hearing(camera) as heard:
        camera.happened.put((MOTION, {"VideoSource": "1"}, {"IsMotion": "true"}))
        assert heard.events.get(timeout=SECONDS) == {
            "topic": MOTION,
            "time": "2024-05-06T07:08:09Z",
            "operation": "Changed",
            "source": {"VideoSource": "1"},
            "data": {"IsMotion": "true"},
        }
    wait_until(lambda: camera.unsubscribed == 1, SECONDS, "the subscription is given back")


def test_a_subscription_is_kept_alive() -> None:
    camera = Camera(stream_uri=STREAM_URI)
    with hearing(camera, renew_seconds=0.0) as heard:
        for _ in range(2):
            camera.happened.put((MOTION, {}, {}))
            heard.events.get(timeout=SECONDS)
        wait_until(lambda: len(camera.renewed) >= 2, SECONDS, "it is renewed")
    assert camera.renewed[0] == "PT60S"
    assert camera.subscriptions == 1
    assert set(camera.own_headers) == {"7"}


def test_a_camera_that_cannot_renew() -> None:
    camera = Camera(stream_uri=STREAM_URI, answers={"Renew": FAULT})
    with hearing(camera, renew_seconds=0.0) as heard:
        for _ in range(3):
            camera.happened.put((MOTION, {}, {}))
            heard.events.get(timeout=SECONDS)
    assert camera.calls.count("Renew") >= 2
    assert camera.subscriptions == 1


def test_a_flood_is_cut_and_counted() -> None:
    camera = Camera(stream_uri=STREAM_URI)
    for number in range(60):
        camera.happened.put((MOTION, {}, {"n": str(number)}))
    with hearing(camera) as heard:
        wait_until(lambda: heard.dropped > 0 and camera.happened.empty(), SECONDS, "some are left out")
        time.sleep(0.5)
        camera.happened.put((MOTION, {}, {"n": "last"}))
        got = []
        while not got or got[-1]["data"]["n"] != "last":
            got.append(heard.events.get(timeout=SECONDS))
    assert len(got) + heard.dropped == 61
    assert heard.dropped >= 20
    assert got[-1]["dropped"] == heard.dropped


def test_a_lost_subscription_is_made_again() -> None:
    camera = Camera(stream_uri=STREAM_URI)
    with hearing(camera) as heard:
        camera.subscriptions += 1  # the camera has restarted: it knows nothing of the one before
        wait_until(lambda: camera.calls.count("CreatePullPointSubscription") == 2, 5.0, "a new subscription")
        camera.happened.put((MOTION, {}, {}))
        assert heard.events.get(timeout=SECONDS)["topic"] == MOTION


def test_an_end_while_the_camera_is_asked_is_not_waited_for() -> None:
    camera = Camera(stream_uri=STREAM_URI)
    with hearing(camera):
        pass
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("onvif events")]


def test_closed_is_closed() -> None:
    with onvif_device(Camera(stream_uri=STREAM_URI)) as device:
        transport = transport_to(device)
        transport.abort()
        with pytest.raises(MeshError, match="has ended"):
            connect(transport)
