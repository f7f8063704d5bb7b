"""What passes the gate and what does not. Names resolve with the machine's own resolver."""

import ipaddress
import os
import subprocess
import sys
import threading
from pathlib import Path

import av.error
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import BadRequest, InternalError, InvalidValue, MeshError, NotFound, Unavailable
from shared.netguard import GuardedUrl, NotMedia, OtherFormat, Policy, check, check_async, explain_av_error
from shared.netguard.addresses import refusal
from shared.netguard.guard import _resolvers

pytestmark = pytest.mark.unit

NETWORK = frozenset(("http", "https", "rtsp", "rtmp", "udp", "srt"))
STRANGER = Policy(schemes=NETWORK)
TRUSTED = Policy(schemes=NETWORK, allow_private=True)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254", "169.254.0.1", "fe80::1", "0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "239.1.2.3", "ff02::1",
        "255.255.255.255", "240.0.0.1", "100.100.100.200", "fd00:ec2::254", "168.63.129.16", "192.0.0.192",
        "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "2002:7f00:1::", "2001:0:1::1", "64:ff9b::169.254.169.254",
        "64:ff9b:1::1", "::ffff:0:127.0.0.1",
    ],
)  # fmt: skip
def test_addresses_that_nobody_reaches(address: str) -> None:
    assert refusal(ipaddress.ip_address(address), allow_private=True)
    assert refusal(ipaddress.ip_address(address), allow_private=False)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.9.9.9", "::1", "10.0.0.1", "172.16.0.1", "192.168.1.64", "100.64.0.1", "fd12::1", "fec0::1",
     "64:ff9b::10.0.0.1", "198.18.0.1"],
)  # fmt: skip
def test_private_addresses_need_permission(address: str) -> None:
    assert refusal(ipaddress.ip_address(address), allow_private=True) is None
    assert refusal(ipaddress.ip_address(address), allow_private=False)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::8.8.8.8"])
def test_public_addresses(address: str) -> None:
    assert refusal(ipaddress.ip_address(address), allow_private=False) is None


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0x7f.1", "localhost", "LOCALHOST", "[::1]", "[::ffff:7f00:1]"],
)
def test_every_spelling_of_this_machine_is_found_out(host: str) -> None:
    with pytest.raises(InvalidValue, match="may not be reached"):
        check(f"http://{host}/", STRANGER)


def test_octal_and_decimal_metadata() -> None:
    for host in ("2852039166", "0xA9FEA9FE", "0251.0376.0251.0376"):
        with pytest.raises(InvalidValue, match=r"169\.254\.169\.254 is link-local"):
            check(f"http://{host}/latest/meta-data", TRUSTED)


def test_parts_of_a_camera_url() -> None:
    guarded = check("rtsp://admin:p%40ss@127.0.0.1/Streaming/Channels/101?transport=tcp", TRUSTED)
    assert (guarded.scheme, guarded.host, guarded.port) == ("rtsp", "127.0.0.1", 554)
    assert (guarded.path, guarded.query) == ("/Streaming/Channels/101", "transport=tcp")
    assert guarded.addresses == ("127.0.0.1",)
    assert guarded.pinned == "rtsp://admin:p%40ss@127.0.0.1:554/Streaming/Channels/101?transport=tcp"
    assert guarded.shown == "rtsp://admin:***@127.0.0.1/Streaming/Channels/101?transport=tcp"
    assert "p%40ss" not in repr(guarded)


def test_names_are_pinned() -> None:
    guarded = check("http://localhost:8080/a b".replace(" ", "%20"), TRUSTED)
    assert guarded.host == "localhost"
    assert guarded.pinned in ("http://127.0.0.1:8080/a%20b", "http://[::1]:8080/a%20b")
    assert check("rtsp://u:p@ss@localhost/x", TRUSTED).pinned.startswith("rtsp://u:p%40ss@")
    assert check("rtsp://[::1]:8554/x", TRUSTED).pinned == "rtsp://[::1]:8554/x"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "only http://"),
        ("cam.local/stream", "only http://"),
        ("gopher://h/", "only http://"),
        ("file:///etc/passwd", "only http://"),
        ("concat:http://h/a|http://h/b", "only http://"),
        ("http:/h/", "only http://"),
        ("http:h", "only http://"),
        ("http://", "host"),
        ("http:///path", "host"),
        ("http://:80/", "host"),
        ("http://u:p@/", "host"),
        ("srt://127.0.0.1", "port"),
        ("http://h:0/", "port"),
        ("http://h:99999/", "percent-encoded"),
        ("rtsp://admin:p/ss@h/", "percent-encoded"),
        ("http://[::1/", "percent-encoded"),
        ("http://h\\@169.254.169.254/", "escape"),
        ("http://h /", "escape"),
        ("http://h/\r\nHost: x", "escape"),
        ("http://h\x00/", "escape"),
        ("http://127.0.0.1%2f@h%00/", "letters"),
        ("http://h_%31/", "letters"),
        ("http://" + "a" * 5_000, "at most"),
        ("http://" + "a" * 64 + ".example/", "not a valid name"),
    ],
)
def test_what_is_no_url_for_us(url: str, says: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        check(url, TRUSTED, field="mix.inputs[0]")
    assert says in caught.value.message
    assert caught.value.message.startswith("mix.inputs[0] ")
    assert "\n" not in caught.value.message


def test_an_unknown_host() -> None:
    with pytest.raises(Unavailable, match=r"no-such-host\.invalid cannot be resolved"):
        check("rtsp://u:secret99@no-such-host.invalid/", TRUSTED)


def test_no_secret_in_any_error() -> None:
    for url in (
        "rtsp://u:secret99@169.254.1.1/",
        "ftp://u:secret99@h/",
        "rtsp://u:secret99@no.invalid/?token=secret99",
    ):
        with pytest.raises(MeshError) as caught:
            check(url, TRUSTED)
        assert "secret99" not in str(caught.value)
        assert caught.value.__cause__ is None


async def test_the_loop_goes_on_while_resolving() -> None:
    guarded = await check_async("http://localhost/", TRUSTED)
    assert guarded.addresses == check("http://localhost/", TRUSTED).addresses
    with pytest.raises(InvalidValue):
        await check_async("http://localhost/", STRANGER)
    with pytest.raises(Unavailable):
        await check_async("http://no-such-host.invalid/", TRUSTED)


async def test_a_resolver_that_does_not_answer() -> None:
    answered = threading.Event()
    stuck = [_resolvers.submit(answered.wait, 30) for _ in range(_resolvers._max_workers)]
    try:
        with pytest.raises(Unavailable, match="does not answer"):
            await check_async("http://localhost/", TRUSTED, timeout_seconds=0.05)
        with pytest.raises(Unavailable, match="does not answer"):
            check("http://localhost/", TRUSTED, timeout_seconds=0.05)
        assert check("http://127.0.0.1/", TRUSTED, timeout_seconds=0.05).addresses  # needs no resolver
    finally:
        answered.set()
    assert all(future.result(5) for future in stuck)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    (folder / "sub").mkdir(parents=True)
    (folder / "clip one.mp4").write_bytes(b"x")
    (tmp_path / "secret.txt").write_bytes(b"x")
    (folder / "out").symlink_to(tmp_path / "secret.txt")
    (folder / "in").symlink_to(folder / "clip one.mp4")
    (folder / "circle").symlink_to(folder / "circle")
    os.mkfifo(folder / "pipe")
    return folder


def _files(root: Path) -> Policy:
    return Policy(schemes=frozenset(("file",)), file_roots=(root / "sub", root))


@pytest.mark.parametrize(
    "name", ["{root}/clip%20one.mp4", "{root}/clip%20one.mp4?loop=1", "clip%20one.mp4", "in", "sub/../in"]
)
def test_files_under_a_root(root: Path, name: str) -> None:
    guarded = check(f"file://{name.format(root=root)}", _files(root))
    assert guarded.file == root / "clip one.mp4"


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "{root}/../secret.txt", "{root}/%2e%2e/secret.txt", "../secret.txt", "out", "sub", "pipe", "circle",
     "{root}", "", "a%00b", "x" * 300],
)  # fmt: skip
def test_files_that_are_out_of_bounds(root: Path, name: str) -> None:
    with pytest.raises(InvalidValue):
        check(f"file://{name.format(root=root)}", _files(root))


def test_a_file_that_is_not_there(root: Path) -> None:
    with pytest.raises(NotFound, match="no such file"):
        check("file://gone.mp4", _files(root))
    with pytest.raises(InvalidValue, match="no folder is allowed"):
        check("file:///clip.mp4", Policy(schemes=frozenset(("file",))))


async def test_files_without_blocking(root: Path) -> None:
    assert (await check_async("file://in", _files(root))).file == root / "clip one.mp4"


def test_devices(tmp_path: Path) -> None:
    policy = Policy(schemes=frozenset(("v4l2",)))
    link = tmp_path / "by-id"
    link.symlink_to("/dev/mem")
    for path in ("/dev/mem", "/dev/../etc/passwd", "/dev/video0/..", str(link)):
        with pytest.raises(InvalidValue, match="video device"):
            check(f"v4l2://{path}", policy)
    with pytest.raises(NotFound, match="plugged in"):
        check("v4l2:///dev/video9999", policy)


def test_cameras_by_where_they_are_plugged_in() -> None:
    policy = Policy(schemes=frozenset(("v4l2",)))
    guarded = check("v4l2://usb-0000:00:14.0-1.2:1.2-index1", policy)
    assert (guarded.host, guarded.file) == ("usb-0000:00:14.0-1.2:1.2-index1", None)
    for location in ("usb-1/../../etc/passwd", "..", "-usb", "usb%2F..", "a" * 129, "usb;1"):
        with pytest.raises(InvalidValue, match="video device"):
            check(f"v4l2://{location}", policy)


hostile = st.text(max_size=40) | st.text(alphabet="htp:/@[]%#?&.0127\\\t\nx-_é", max_size=40).map(
    lambda t: "http://" + t
)


@given(hostile)
def test_hostile_urls(url: str) -> None:
    # No name of these resolves: what gets through is an address, this machine or none at all.
    try:
        guarded = check(url, STRANGER, timeout_seconds=0.5)
    except MeshError:
        return
    assert guarded.addresses
    for address in guarded.addresses:
        assert ipaddress.ip_address(address).is_global


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (av.error.HTTPNotFoundError(1, "x"), NotFound, "404"),
        (av.error.FileNotFoundError(2, "x"), NotFound, "does not exist"),
        (av.error.HTTPUnauthorizedError(1, "x"), Unavailable, "user name and password"),
        (av.error.HTTPForbiddenError(1, "x"), Unavailable, "user name and password"),
        (av.error.HTTPServerError(1, "x"), Unavailable, "at the moment"),
        (av.error.HTTPTooManyRequestsError(1, "x"), Unavailable, "at the moment"),
        (av.error.HTTPBadRequestError(1, "x"), BadRequest, "refuses the request"),
        (av.error.InvalidDataError(1, "x"), NotMedia, "not media"),
        (av.error.ExitError(1, "Immediate exit requested"), Unavailable, "in time"),
        (av.error.TimeoutError(110, "x"), Unavailable, "in time"),
        (av.error.ConnectionRefusedError(111, "x"), Unavailable, "refuses the connection"),
        (av.error.OSError(113, "x"), Unavailable, "cannot be reached"),
        (av.error.OSError(5, "Input/output error"), Unavailable, "gave up"),
        (av.error.OSError(9999, "odd"), Unavailable, "odd"),
        (av.error.EOFError(1, "x"), Unavailable, "ended"),
        (av.error.DemuxerNotFoundError(1, "no demuxer"), BadRequest, "no demuxer"),
        (av.error.ArgumentError(22, "Invalid argument"), OtherFormat, "Invalid argument"),
        (av.error.UndefinedError(9999, "odd"), InternalError, "odd"),
        (RuntimeError("x"), InternalError, "RuntimeError"),
        (Unavailable("as it is"), Unavailable, "as it is"),
    ],
)
def test_what_libav_errors_mean(error: Exception, kind: type[MeshError], says: str) -> None:
    explained = explain_av_error(error, "source 'x'")
    assert type(explained) is kind
    assert says in explained.message


def test_explained_errors_hold_no_secret_and_one_line() -> None:
    url = "rtsp://u:hunter22@h/s"
    error = av.error.OSError(5, "Input/output error", url, (16, "rtsp", f"Could not open {url}\nuser u, hunter22\n"))
    message = explain_av_error(error, f"source {url!r}", [url]).message
    assert "hunter22" not in message
    assert "rtsp://u:***@h/s" in message
    assert "\n" not in message


def test_av_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, shared.netguard; sys.exit('av' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=30).returncode == 0


def test_a_policy_for_less() -> None:
    policy = Policy(schemes=frozenset(("http", "file")), allow_private=True, file_roots=(Path("/srv"),))
    assert policy.only("http", "https").schemes == {"http"}
    assert policy.only("http").allow_private
    assert isinstance(check("http://127.0.0.1/", policy.only("http")), GuardedUrl)
