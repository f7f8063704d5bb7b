"""WS-Discovery: on loopback, and between two network namespaces, so that no question leaves this machine."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.devices import Device
from services.capture.devices.onvif import find_onvif
from services.capture.onvif.discovery import Announced, discover
from services.capture.settings import CaptureSettings
from tests.support.onvif_device import discoverable, probe_match

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

UUID = "urn:uuid:4d454930-0000-1000-8000-001122334455"
SCOPES = (
    "onvif://www.onvif.org/Profile/Streaming onvif://www.onvif.org/hardware/DS-2CD onvif://www.onvif.org/name/Yard%0A%20E"
    " onvif://www.onvif.org/manufacturer/Maker%20Inc http://elsewhere/hardware/no"
)
SECONDS = 1.0


def test_a_camera_is_found_once() -> None:
    began = time.monotonic()
    with discoverable(lambda asked: probe_match(asked, UUID, 8000, SCOPES)) as heard:
        found = discover(("lo",), SECONDS)
    assert [(one.endpoint, one.port, one.model, one.vendor) for one in found] == [(UUID, 8000, "DS-2CD", "Maker Inc")]
    assert len(heard) == 2  # asked twice, for one is lost now and then
    assert heard[0] == heard[1]
    assert SECONDS <= time.monotonic() - began < SECONDS + 2


def test_the_finder() -> None:
    settings = CaptureSettings(onvif_interfaces=("lo",))
    with discoverable(lambda asked: probe_match(asked, UUID, 80, "onvif://www.onvif.org/name/Yard")) as heard:
        assert find_onvif(False, settings) == []
        assert not heard
        (device,) = find_onvif(True, settings)
    address = device.address
    assert device == Device(
        kind="onvif", location=UUID, location_id=0, source=f"onvif://{address}:80/", model="Yard", address=address
    )


@pytest.mark.parametrize(
    "answer",
    [
        lambda asked: probe_match("urn:uuid:another", UUID, 80),
        lambda asked: probe_match(asked, UUID, 80, types="wsdp:Printer"),
        lambda asked: probe_match(asked, "", 80),
        lambda asked: b'<!DOCTYPE l [<!ENTITY x "y">]>' + probe_match(asked, UUID, 80),
        lambda asked: b"\xff" * 60_000,
    ],
    ids=["another's", "printer", "nameless", "entities", "noise"],
)
def test_answers_that_are_left_out(answer: object) -> None:
    with discoverable(answer) as heard:  # type: ignore[arg-type]
        assert discover(("lo",), 0.3) == []
    assert heard


def test_an_interface_that_goes_away_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of containers do all day: the others are still asked."""
    there = socket.if_nameindex()
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(99_999, "gone0"), *there])
    with discoverable(lambda asked: probe_match(asked, UUID, 80)):
        assert [one.endpoint for one in discover(("gone0", "lo"), 0.5)] == [UUID]


def test_an_interface_that_is_not_there() -> None:
    assert discover(("nowhere0",), 0.1) == []


# -- between two hosts ---------------------------------------------------------------------------------------

NETNS = os.geteuid() == 0 and shutil.which("ip") is not None
ASKING, ANSWERING = f"fm-ask-{os.getpid()}", f"fm-cam-{os.getpid()}"
RESPONDER = """
import sys
from services.capture.settings import CaptureSettings
from tests.support.onvif_device import discoverable, probe_match
with discoverable(lambda asked: probe_match(asked, sys.argv[1], 8000), "cam"):
    print("ready", flush=True)
    sys.stdin.read()
"""
ASKER = """
import json, sys
from dataclasses import asdict
from services.capture.onvif.discovery import discover
print(json.dumps([asdict(one) for one in discover(sys.argv[1:], 1.0)]))
"""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
def two_hosts() -> Iterator[None]:
    try:
        ip("netns", "add", ASKING)
        ip("netns", "add", ANSWERING)
        ip("-n", ASKING, "link", "add", "eth", "type", "veth", "peer", "name", "cam", "netns", ANSWERING)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
    try:
        for host, interface, address in ((ASKING, "eth", "10.77.0.1/24"), (ANSWERING, "cam", "10.77.0.2/24")):
            ip("-n", host, "addr", "add", address, "dev", interface)
            ip("-n", host, "link", "set", interface, "up")
        ip("-n", ASKING, "link", "add", "idle", "type", "veth", "peer", "name", "other")  # down, no address
        yield
    finally:
        for host in (ASKING, ANSWERING):
            subprocess.run(["ip", "netns", "del", host], check=False, capture_output=True)


def asked_from_there(*interfaces: str) -> list[Announced]:
    command = ["ip", "netns", "exec", ASKING, sys.executable, "-c", ASKER, *interfaces]
    done = subprocess.run(command, check=True, capture_output=True, timeout=20, cwd=_root())
    return [Announced(**one) for one in json.loads(done.stdout)]


def _root() -> Path:
    return Path(__file__).parents[2]


@pytest.mark.skipif(not NETNS, reason="needs root and ip (Debian package iproute2)")
def test_a_camera_in_the_network(two_hosts: None) -> None:
    responder = subprocess.Popen(
        ["ip", "netns", "exec", ANSWERING, sys.executable, "-c", RESPONDER, UUID],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=_root(),
    )
    try:
        assert responder.stdout is not None
        assert responder.stdout.readline() == b"ready\n"
        camera = Announced(UUID, "10.77.0.2", 8000)
        assert asked_from_there() == [camera]  # on all interfaces
        assert asked_from_there("eth") == [camera]
        assert asked_from_there("idle", "lo") == []
    finally:
        responder.communicate(timeout=10)
