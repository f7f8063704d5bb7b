"""What srt:// and udp:// may say, most of it hostile; and which groups may be sent to."""

import pytest

from schemas.errors import InvalidValue
from schemas.resources import OutputSpec
from services.publisher.outputs import format_of, make_output
from services.publisher.outputs.base import OutputSettings
from services.publisher.outputs.push import Push
from services.publisher.transport_options import SrtOptions, UdpOptions, srt_options, udp_options
from shared.netguard import Policy, check

pytestmark = pytest.mark.unit

SECRET = "s3cret-passphrase"


def refuse(to: str) -> str:
    with pytest.raises(InvalidValue) as refused:
        make_output(OutputSpec(stream="cam0", output="x", to=to), to, OutputSettings())
    return refused.value.message


def test_srt_options_are_those_of_libav() -> None:
    url = "srt://h:9?mode=caller&latency=200000&passphrase=a%26b+c-0123456&pbkeylen=32&streamid=%23!::r=x&pkt_size=1400"
    assert srt_options(url, url) == SrtOptions(
        latency_ms=200, passphrase=b"a&b+c-0123456", key_bytes=32, stream_id=b"#!::r=x", datagram_bytes=1_316
    )
    assert srt_options("srt://h:9", "") == SrtOptions()


def test_udp_options_are_those_of_libav() -> None:
    url = "udp://239.1.2.3:9?pkt_size=188&ttl=4&localaddr=192.0.2.7"
    assert udp_options(url, url) == UdpOptions(datagram_bytes=188, ttl=4, local_address="192.0.2.7")


@pytest.mark.parametrize(
    ("to", "says"),
    [
        ("srt://h:9?mode=listener", "only caller"),
        ("srt://h:9?passphrase=short", "10 to 79 bytes"),
        ("srt://h:9?latency=-1", "latency is a whole number from 0 to 60000000 µs"),
        ("srt://h:9?latency=1_0", "latency is a whole number"),
        ("srt://h:9?pbkeylen=17", "16, 24, 32"),
        (f"srt://h:9?streamid={'x' * 513}", "at most 512"),
        ("srt://h:9?ffs=1", "the options here are mode, latency"),
        ("srt://h:9?latency=1&latency=2", "each once"),
        ("srt://h", "srt://host:port"),
        ("srt://h:0", "srt://host:port"),
        ("srt://h:9/path", "srt://host:port"),
        ("srt://user@h:9", "srt://host:port"),
        ("srt://h:9?streamid=a b", "no spaces"),
        ("srt://h:9?streamid=#!::r=x", "write # as %23"),
        ("rtmp://h/app/key#1", "write # as %23"),
        ("udp://h:9?ttl=256", "ttl is a whole number from 0 to 255"),
        ("udp://h:9?ttl=²", "ttl is a whole number"),
        ("udp://h:9?pkt_size=9999", "pkt_size"),
        ("udp://h:9?localaddr=eth0", "an address of this machine"),
        ("udp://h:9?broadcast=1", "the options here are pkt_size, ttl, localaddr"),
    ],
)
def test_what_can_never_work_is_refused_with_the_fix(to: str, says: str) -> None:
    assert says in refuse(to)


def test_no_refusal_shows_a_secret() -> None:
    said = refuse(f"srt://h:9?passphrase={SECRET}&streamid={SECRET}&latency=x")
    assert SECRET not in said
    assert "passphrase=***&streamid=***" in said


def test_a_format_beside_a_url_has_to_be_its_own() -> None:
    spec = OutputSpec(stream="cam0", output="x", to="srt://h:9", format="udp")
    with pytest.raises(InvalidValue, match="srt:// is srt; leave format out"):
        format_of(spec, spec.to)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("239.1.2.3", True),
        ("232.1.1.1", True),
        ("[ff15::1]", True),
        ("127.0.0.1", True),
        ("224.0.0.251", False),
        ("[ff02::1]", False),
        ("[ff01::1]", False),
        ("255.255.255.255", False),
        ("0.0.0.0", False),
        ("169.254.169.254", False),
    ],
)
def test_groups_may_be_sent_to_but_for_those_of_the_link(host: str, allowed: bool) -> None:
    policy = Policy(schemes=frozenset(("udp", "srt")), allow_private=True, groups=True)
    if allowed:
        assert check(f"udp://{host}:5000", policy, "to").addresses
    else:
        with pytest.raises(InvalidValue):
            check(f"udp://{host}:5000", policy, "to")
    if host.startswith(("23", "[ff")):
        with pytest.raises(InvalidValue):
            check(f"srt://{host}:5000", policy, "to")


@pytest.mark.parametrize("to", ["rtmp://127.0.0.1:9/live/key", "rtmps://127.0.0.1:9/live/key", "srt://10.0.0.1:9000"])
def test_what_is_for_public_addresses_goes_to_no_other(to: str) -> None:
    output = make_output(OutputSpec(stream="cam0", output="x", to=to, public_only=True), to, OutputSettings())
    assert isinstance(output, Push)
    with pytest.raises(InvalidValue, match="may not be reached"):
        output._checked()
    open_to_all = make_output(OutputSpec(stream="cam0", output="x", to=to), to, OutputSettings())
    assert isinstance(open_to_all, Push)
    assert open_to_all._checked()
