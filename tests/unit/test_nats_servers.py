"""Lists of servers, and what a server of a cluster is told."""

from pathlib import Path

import pytest

from schemas.errors import BadRequest, InvalidValue, NotFound
from services.launcher.nats_cluster import ClusterServer, RouteTls, cluster_lines, key_fingerprint
from shared.bus.servers import server_urls, shown_servers
from shared.settings import Settings, load_settings

ROUTES = ("n1", "n2:6333", "[fd00::3]")


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("nats://a:4222", ["nats://a:4222"]),
        ("nats://a:4222, nats://b:4222 ,", ["nats://a:4222", "nats://b:4222"]),
        ("tls://u:p@a,tls://u:p@b", ["tls://u:p@a", "tls://u:p@b"]),
        ("a:4222,b:4222", ["a:4222", "b:4222"]),
        ("nats://a:4222,b:4222", ["nats://a:4222", "b:4222"]),
        ("nats://u:p,w@a:4222", ["nats://u:p,w@a:4222"]),
    ],
)
def test_servers(text: str, urls: list[str]) -> None:
    assert server_urls(text) == urls


@pytest.mark.parametrize("text", ["", " , ", "nats://a:4222,ws://b:80"])
def test_no_servers(text: str) -> None:
    with pytest.raises(InvalidValue, match="FRAMEMESH_NATS_URL"):
        server_urls(text)


def test_no_secret_of_any_server_is_shown() -> None:
    shown = shown_servers("nats://u:first@a:4222,nats://u:sec,ond@b:4222,nats://token@c")
    assert shown == "nats://u:***@a:4222,nats://u:***@b:4222,nats://***@c"
    with pytest.raises(InvalidValue) as refused:
        server_urls("nats://u:first@a:4222,wss://u:second@b")
    assert "first" not in str(refused.value)
    assert "second" not in str(refused.value)


def test_replicas_are_bounded() -> None:
    assert load_settings(Settings, "capture", {}).nats_replicas == 1
    assert load_settings(Settings, "capture", {"FRAMEMESH_NATS_REPLICAS": "3"}).nats_replicas == 3
    for wrong in ("0", "6", "all"):
        with pytest.raises(InvalidValue, match="FRAMEMESH_NATS_REPLICAS"):
            load_settings(Settings, "capture", {"FRAMEMESH_NATS_REPLICAS": wrong})


def test_a_server_of_a_cluster() -> None:
    text = cluster_lines(ClusterServer(name="n1", routes=ROUTES))
    assert 'server_name: "n1"' in text
    assert [line.strip() for line in text.splitlines() if "nats-route" in line] == [
        '"nats-route://n1:6222"',
        '"nats-route://n2:6333"',
        '"nats-route://[fd00::3]:6222"',
    ]
    assert "no_advertise: true" in text
    assert "tls" not in text


@pytest.mark.parametrize(
    ("name", "routes", "named"),
    [
        ("N 1", ROUTES, "--name"),
        ('n1"}', ROUTES, "--name"),
        ("n1", ("n1", "n2"), "--route"),
        ("n1", ("n1", "n1", "n1"), "--route"),
        ("n1", ("n1", "n2", 'n3"]'), "--route"),
        ("n1", ("n1", "n2", "user:pw@n3"), "--route"),
        ("n1", ("n1", "n2", "n3:99999"), "--route"),
    ],
)
def test_what_cannot_be_a_cluster(name: str, routes: tuple[str, ...], named: str) -> None:
    with pytest.raises(InvalidValue, match=named):
        cluster_lines(ClusterServer(name=name, routes=routes))


def test_certificates_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "text.pem").write_text("no certificate")
    with pytest.raises(BadRequest, match="no certificate"):
        key_fingerprint(tmp_path / "text.pem")
    with pytest.raises(NotFound, match=r"missing\.pem"):
        key_fingerprint(tmp_path / "missing.pem")


def test_a_path_cannot_end_its_string(tmp_path: Path) -> None:
    from tests.support.nats_certificates import certificates

    made = certificates(tmp_path, "server")
    good = made.route("server")
    hostile = RouteTls(Path('/x"\nport: 1'), good.certificate, good.key, good.keys)
    with pytest.raises(BadRequest, match="rename"):
        cluster_lines(ClusterServer(name="n1", routes=ROUTES, tls=hostile))


def test_no_server_takes_every_key() -> None:
    place = Path("/x")
    for keys in ((), ("*",), ("a" * 64, "short")):
        with pytest.raises(InvalidValue, match="keys"):
            cluster_lines(ClusterServer(name="n1", routes=ROUTES, tls=RouteTls(place, place, place, keys)))
