"""Where peers reach the gateway: every form of a host, names, ports that are forwarded, and the candidates of it."""

import asyncio
import socket
from typing import Any

import pytest

from schemas.errors import InvalidValue
from services.webrtc_gateway.transport.hosts import Host, parse_host, resolve_hosts, tcp_candidates, udp_candidates
from services.webrtc_gateway.transport.ice import SharedIceTransport

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("192.0.2.7", Host("192.0.2.7")),
        ("192.0.2.7:40000", Host("192.0.2.7", 40_000)),
        ("2001:db8::7", Host("2001:db8::7")),
        ("2001:DB8:0::7", Host("2001:db8::7")),
        ("::1", Host("::1")),
        ("[2001:db8::7]", Host("2001:db8::7")),
        ("[2001:db8::7]:8189", Host("2001:db8::7", 8189)),
        ("edge-1.example", Host("edge-1.example")),
        ("edge.example.:8189", Host("edge.example", 8189)),
        ("localhost", Host("localhost")),
    ],
)
def test_forms_of_a_host(text: str, host: Host) -> None:
    assert parse_host(text) == host


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":8189",
        "192.0.2",
        "192.0.2.256",
        "192.0.2.7:",
        "192.0.2.7:0",
        "192.0.2.7:65536",
        "192.0.2.7:http",
        "192.0.2.7 typ host\r\na=x",
        "0.0.0.0",
        "::",
        "239.1.2.3",
        "fe80::1%eth0",
        "[192.0.2.7]:8189",
        "[2001:db8::7",
        "2001:db8:::7",
        "http://edge.example",
        "-edge.example",
    ],
)
def test_what_is_no_host_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidValue, match="webrtc_hosts"):
        parse_host(text)


async def test_names_become_all_their_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Host("127.0.0.1", 7000) in await resolve_hosts(["localhost:7000"])
    assert await resolve_hosts(["192.0.2.7", "192.0.2.7"]) == (Host("192.0.2.7"),)
    with pytest.raises(InvalidValue, match=r"nowhere\.invalid.*give its address"):
        await resolve_hosts(["nowhere.invalid"])

    async def two(*_: Any, **__: Any) -> list[tuple[Any, ...]]:
        return [(0, 0, 0, "", ("192.0.2.7", 0)), (0, 0, 0, "", ("2001:db8::7", 0, 0, 0))] * 2

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", two)
    assert await resolve_hosts(["edge.example:9"]) == (Host("192.0.2.7", 9), Host("2001:db8::7", 9))


async def test_a_resolver_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs(*_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", hangs)
    monkeypatch.setattr("services.webrtc_gateway.transport.hosts._RESOLVE_SECONDS", 0.05)
    with pytest.raises(InvalidValue, match="not resolved within"):
        await resolve_hosts(["edge.example"])


def test_candidates_prefer_udp_and_our_order() -> None:
    hosts = (Host("192.0.2.7"), Host("2001:db8::7", 40_000))
    lines = (*udp_candidates(hosts, 8189), *tcp_candidates(hosts, 8443))
    fields = [line.split() for line in lines]
    assert [(f[2], f[4], f[5]) for f in fields] == [
        ("udp", "192.0.2.7", "8189"),
        ("udp", "2001:db8::7", "40000"),
        ("tcp", "192.0.2.7", "8443"),
        ("tcp", "2001:db8::7", "40000"),
    ]
    priorities = [int(f[3]) for f in fields]
    assert priorities == sorted(priorities, reverse=True)
    assert len({f[0] for f in fields}) == 4
    assert all(line.endswith("typ host tcptype passive") for line in lines[2:])


async def test_a_forwarded_port_is_told_in_place_of_ours() -> None:
    transport = SharedIceTransport.open(0, [Host("192.0.2.7", 40_000), Host("127.0.0.1")], bind="127.0.0.1")
    try:
        assert [line.split()[4:6] for line in transport.candidates] == [
            ["192.0.2.7", "40000"],
            ["127.0.0.1", str(transport.port)],
        ]
    finally:
        transport.close()


async def test_hosts_that_bind_does_not_serve_are_refused() -> None:
    with pytest.raises(InvalidValue, match=r"2001:db8::7.*127\.0\.0\.1"):
        SharedIceTransport.open(0, ["2001:db8::7"], bind="127.0.0.1")
    with pytest.raises(InvalidValue, match="webrtc_hosts"):
        SharedIceTransport.open(0, ["edge.example"])


def test_the_family_is_the_addresses() -> None:
    assert (Host("127.0.0.1").family, Host("::1").family) == (socket.AF_INET, socket.AF_INET6)
