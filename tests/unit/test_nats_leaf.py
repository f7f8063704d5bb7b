"""What the configurations of a hub and of a leaf say, and refuse."""

from pathlib import Path

import pytest

from schemas.channels import CHANNELS
from schemas.errors import BadRequest, InvalidValue
from schemas.placements import PLACEMENTS, copy_bucket, leaf_domain, node_of_domain, placement_of
from schemas.subjects import same_host
from services.launcher.nats_leaf import HubServer, LeafServer, LeafTls, hub_lines, leaf_lines, leaf_permissions
from shared.bus.hub import unwrapped, wrapped
from shared.bus.kv import Entry


def test_a_leaf() -> None:
    domain, lines = leaf_lines(LeafServer(node="edge1", hubs=("nats-leaf://a.local:7422", "b.local", "[::1]:7")))
    assert domain == leaf_domain("edge1")
    assert node_of_domain(domain) == "edge1"
    assert '["nats-leaf://a.local:7422", "nats-leaf://b.local:7422", "nats-leaf://[::1]:7"]' in lines
    assert lines.count('["mesh.v1.frames.>", "mesh.v1.audio.>", "mesh.v1.ack.>"]') == 2
    assert "nkey" not in lines
    assert "tls" not in lines


def test_secrets_are_not_in_it() -> None:
    tls = LeafTls(ca=Path("/s/ca.pem"), certificate=Path("/s/certificate.pem"), key=Path("/s/key.pem"))
    _, lines = leaf_lines(LeafServer(node="edge1", hubs=("a",), with_seed=True, tls=tls))
    assert "nkey: $FRAMEMESH_LEAF_SEED" in lines
    assert "verify" not in lines, "of the one who connects nobody asks for it"
    _, lines = hub_lines(HubServer(tls=tls))
    assert "verify: true" in lines


@pytest.mark.parametrize("node", ["", "Edge 1", "edge.1", 'e"1'])
def test_a_node_that_is_none(node: str) -> None:
    with pytest.raises(InvalidValue, match=r"--node .*for example edge1"):
        leaf_lines(LeafServer(node=node, hubs=("a",)))


@pytest.mark.parametrize(
    "hub",
    ["http://a", "nats-leaf://a:0", "nats-leaf://a:99999", "nats-leaf://a b", 'nats-leaf://a"', "nats-leaf://", "a/b"],
)
def test_a_hub_that_is_none(hub: str) -> None:
    with pytest.raises(InvalidValue, match="--hub"):
        leaf_lines(LeafServer(node="edge1", hubs=(hub,)))


def test_a_password_is_not_shown() -> None:
    with pytest.raises(InvalidValue) as refused:
        leaf_lines(LeafServer(node="edge1", hubs=("nats-leaf://leaf:geheim@hub.local:7422",)))
    assert "geheim" not in str(refused.value)
    assert "belong in a file" in str(refused.value)


def test_without_a_hub() -> None:
    with pytest.raises(InvalidValue, match="name the hub"):
        leaf_lines(LeafServer(node="edge1", hubs=()))


def test_a_path_that_cannot_be_written() -> None:
    odd = Path('/s/"odd"')
    with pytest.raises(BadRequest, match="rename it"):
        hub_lines(HubServer(tls=LeafTls(ca=odd, certificate=odd, key=odd)))
    with pytest.raises(InvalidValue, match="--leaves"):
        hub_lines(HubServer(listen="0.0.0.0:port"))


def test_what_a_leaf_may_on_the_hub() -> None:
    allowed = leaf_permissions()
    publish = allowed["publish"]["allow"]
    for call in (
        "STREAM.DELETE",
        "STREAM.PURGE",
        "STREAM.UPDATE",
        "STREAM.CREATE",
        "STREAM.MSG.DELETE",
        "STREAM.>",
        "DIRECT.GET",
    ):
        assert not [subject for subject in publish if call in subject], call
    assert "$JS.>" not in publish, "other leaves' stores are theirs"
    for direction in ("publish", "subscribe"):
        assert allowed[direction]["deny"] == list(same_host())


def test_every_bucket_has_its_place() -> None:
    """One that is only local on purpose is written down too."""
    known = {channel.bucket for channel in CHANNELS if channel.bucket}
    assert set(PLACEMENTS) <= known
    assert {bucket for bucket in known if bucket not in PLACEMENTS} <= {"mesh_schema"}
    assert placement_of("somebody_elses") == placement_of(copy_bucket("mesh_desired")) == "local"


@pytest.mark.parametrize("domain", [None, "", "hub", "leaf-", 7, "other"])
def test_a_domain_that_is_no_leaf(domain: object) -> None:
    assert node_of_domain(domain) is None


@pytest.mark.parametrize("value", [b"", b"{}", b"12 x", b" ", b"\x00\xff"])
def test_a_copy_has_the_hubs_revision(value: bytes) -> None:
    assert unwrapped(wrapped(Entry("a", value, 17))) == (17, value)
    assert unwrapped(b"{}") == (0, b"{}")
