"""Token buckets and whose they are."""

import pytest
from aiohttp.test_utils import make_mocked_request

from shared.door.clients import Clients
from shared.door.rates import Buckets

pytestmark = pytest.mark.unit


def test_a_burst_then_so_many_a_second() -> None:
    buckets = Buckets(per_second=0.5, burst=3)
    assert [buckets.take("a", 0.0) for _ in range(4)] == [0, 0, 0, 2]
    assert buckets.take("b", 0.0) == 0, "another client has its own"
    assert buckets.take("a", 1.0) == 1, "half of one has come back"
    assert buckets.take("a", 2.0) == 0
    assert buckets.take("a", 2.0) == 2, "what was refused has cost nothing, what was taken has"
    assert [buckets.take("a", 1000.0) for _ in range(4)] == [0, 0, 0, 2], "never more than the burst"


def test_no_limit() -> None:
    buckets = Buckets(per_second=0, burst=1)
    assert [buckets.take("a", 0.0) for _ in range(100)] == [0] * 100


def test_memory_is_bounded_and_the_busy_stay() -> None:
    buckets = Buckets(per_second=0.1, burst=1, most=100)
    assert buckets.take("busy", 0.0) == 0
    for number in range(1000):
        buckets.take(f"other-{number}", 0.0)
        assert buckets.take("busy", 0.0) > 0
    assert len(buckets) == 100


@pytest.mark.parametrize(
    ("proxies", "remote", "forwarded", "address"),
    [
        ((), "192.0.2.7", "198.51.100.1", "192.0.2.7"),
        (("10.0.0.0/8",), "192.0.2.7", "198.51.100.1", "192.0.2.7"),
        (("10.0.0.0/8",), "10.1.1.1", "198.51.100.1", "198.51.100.1"),
        (("10.0.0.0/8",), "10.1.1.1", "1.1.1.1, 198.51.100.1, 10.2.2.2", "198.51.100.1"),
        (("10.0.0.0/8",), "10.1.1.1", "", "10.1.1.1"),
        (("10.0.0.0/8",), "10.1.1.1", "nonsense", "unknown"),
        (("10.0.0.0/8",), "10.1.1.1", " , ,", "10.1.1.1"),
        ((), "::ffff:192.0.2.7", "", "192.0.2.7"),
        ((), "2001:db8:1:2:3:4:5:6", "", "2001:db8:1:2::/64"),
    ],
)
def test_whose_bucket_it_is(proxies: tuple[str, ...], remote: str, forwarded: str, address: str) -> None:
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    request = make_mocked_request("GET", "/", headers=headers).clone(remote=remote)
    assert Clients(proxies).address(request) == address


def test_only_a_trusted_proxy_tells_of_tls() -> None:
    request = make_mocked_request("GET", "/", headers={"X-Forwarded-Proto": "https"})
    assert Clients(("10.0.0.0/8",)).is_secure(request.clone(remote="10.1.1.1"))
    assert not Clients(("10.0.0.0/8",)).is_secure(request.clone(remote="192.0.2.7"))
    assert not Clients().is_secure(request.clone(remote="10.1.1.1"))
