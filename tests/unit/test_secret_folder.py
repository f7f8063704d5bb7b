"""Secrets: what is made, what is left alone, what is refused; and the files that say who a process is."""

import json
import stat
from pathlib import Path

import pytest

from schemas.errors import BadRequest, Conflict, InvalidValue, NotFound
from services.cli.__main__ import main
from services.launcher import certificates
from services.launcher.nats_config import Standalone, authorization_lines, standalone_lines
from services.launcher.secret_folder import SecretFolder
from shared.nkey import new_seed, parse_credentials, public_key, seed_file, sign
from shared.permissions import PARTIES, grants

pytestmark = pytest.mark.unit


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> SecretFolder:
    made = SecretFolder(tmp_path / "secrets")
    assert made.init(["capture", "cli"], ["nats.local", "10.0.0.5"]) == ["nats", "capture", "cli"]
    return made


def test_a_second_init_changes_nothing(folder: SecretFolder) -> None:
    before = contents(folder.path)
    assert folder.init(["capture", "cli"], ["nats.local"]) == []
    assert contents(folder.path) == before


def test_nobody_else_can_read_them(folder: SecretFolder) -> None:
    for path in (folder.path, *folder.path.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_one_more_party(folder: SecretFolder) -> None:
    before = contents(folder.path)
    assert folder.init(["capture", "cli", "leaf-edge2"]) == ["leaf-edge2"]
    after = contents(folder.path)
    assert {name: after[name] for name in before if name != "parties.json"} == {
        name: data for name, data in before.items() if name != "parties.json"
    }
    assert folder.access("leaf-edge2").read_credentials() is not None


def test_without_the_cas_key_it_shows_and_no_more(folder: SecretFolder) -> None:
    (folder.path / "ca.key").rename(folder.path.parent / "kept-elsewhere")
    assert [one.name for one in folder.held()] == ["nats", "capture", "cli"]
    assert folder.init(["capture"]) == []
    for act in (lambda: folder.init(["io-signal"]), lambda: folder.rotate(["capture"])):
        with pytest.raises(NotFound, match=r"ca\.key is not here"):
            act()


def test_a_server_for_another_name_is_not_made_silently(folder: SecretFolder) -> None:
    with pytest.raises(Conflict, match=r"not for new\.local; run `framemesh secrets rotate .* nats --host new\.local`"):
        folder.init(["capture"], ["new.local"])
    folder.rotate(["nats"], hosts=["new.local"])
    assert {"new.local", "nats.local", "10.0.0.5", "localhost"} <= set(folder.held()[0].hosts)


def test_rotating_one_leaves_the_others(folder: SecretFolder) -> None:
    before, keys = contents(folder.path), folder.public_keys()
    assert folder.rotate(["capture"]) == ["capture"]
    after = contents(folder.path)
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {"capture/seed.nk", "capture/certificate.pem", "capture/key.pem", "parties.json"}
    assert folder.public_keys()["cli"] == keys["cli"]
    credentials = folder.access("capture").read_credentials()
    assert credentials is not None
    assert folder.public_keys()["capture"] == public_key(credentials.seed) != keys["capture"]
    folder.rotate(["capture"], seeds=False)
    assert folder.public_keys()["capture"] == public_key(credentials.seed)


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(Conflict, match="other things in it"):
        SecretFolder(tmp_path).init(["capture"])
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_parties_that_cannot_be(folder: SecretFolder) -> None:
    for name in ("../capture", "", "a.b", "A"):
        with pytest.raises(InvalidValue):
            folder.init([name])
    with pytest.raises(Conflict, match="that is the server"):
        folder.init(["nats"])
    with pytest.raises(NotFound, match="no party 'x'; there are: capture, cli"):
        folder.access("x")


def test_certificates_are_renewed_when_they_end_soon(tmp_path: Path) -> None:
    folder = SecretFolder(tmp_path / "secrets")
    folder.init(["capture"], days=10)
    keys = folder.public_keys()
    assert folder.renew(30) == ["nats", "capture"]
    assert folder.renew(30) == []
    assert folder.public_keys() == keys


def test_what_the_command_line_shows_is_no_secret(
    folder: SecretFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for arguments in (["show"], ["show", "--json"], ["env", "cli"], ["env", "cli", "--json"]):
        action, *rest = arguments
        with pytest.raises(SystemExit) as ended:
            main(["secrets", action, str(folder.path), *rest])
        assert ended.value.code == 0
    said = "".join(capsys.readouterr())
    assert "export FRAMEMESH_NATS_CREDENTIALS=" in said
    for name, data in contents(folder.path).items():
        if name.endswith(("seed.nk", ".key", "key.pem")):
            assert data.decode().strip().splitlines()[1] not in said, name


# -- files that say who a process is -----------------------------------------------------------------------------


def test_seeds() -> None:
    seed = new_seed()
    found = parse_credentials(seed_file(seed, "capture"))
    assert (found.seed, found.party, found.jwt) == (seed, "capture", "")
    assert sign(found, "nonce").public_key == public_key(seed)
    decorated = (
        "-----BEGIN NATS USER JWT-----\nx.eyJuYW1lIjoiY2xpIn0.y\n------END NATS USER JWT------\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
    assert parse_credentials(decorated) == (seed, "x.eyJuYW1lIjoiY2xpIn0.y", "cli")


@pytest.mark.parametrize("text", ["", "SUX", "hello", "-----BEGIN USER NKEY SEED-----\n\n"])
def test_a_file_without_a_seed(text: str) -> None:
    with pytest.raises(BadRequest, match="holds no seed"):
        parse_credentials(text)


def test_a_damaged_seed_is_told_and_not_shown() -> None:
    seed = new_seed()
    damaged = seed[:30] + ("A" if seed[30] != "A" else "B") + seed[31:]
    with pytest.raises(BadRequest, match="damaged") as told:
        parse_credentials(damaged)
    assert seed[2:20] not in told.value.message


# -- the server's configuration ----------------------------------------------------------------------------------


def test_an_open_server_stays_on_loopback() -> None:
    with pytest.raises(InvalidValue, match="listens on loopback only"):
        standalone_lines(Standalone(host="0.0.0.0"))
    with pytest.raises(InvalidValue, match="--monitor"):
        standalone_lines(Standalone(monitor="0.0.0.0:8222"))
    with pytest.raises(InvalidValue, match="rename it"):
        standalone_lines(Standalone(store_dir=Path('/data/"; authorization {}')))
    assert "authorization" not in standalone_lines(Standalone())


def test_a_locked_server_knows_every_party(tmp_path: Path) -> None:
    folder = SecretFolder(tmp_path / "secrets")
    folder.init(PARTIES)
    text = standalone_lines(Standalone(host="0.0.0.0", secrets_at=Path("/at"), public_keys=folder.public_keys()))
    assert 'cert_file: "/at/certificate.pem"' in text
    assert "verify: true" in text
    for party, key in folder.public_keys().items():
        entry = text.partition(f"{{ nkey: {key}, permissions: ")[2]
        assert json.JSONDecoder().raw_decode(entry)[0] == grants()[party].as_permissions(), party  # type: ignore[index]


def test_subjects_of_ones_own() -> None:
    keys = {"webrtc-gateway": "UKEY"}
    lines = authorization_lines(keys, also=["webrtc-gateway:publish:plc.>", "webrtc-gateway:subscribe:plc.out"])
    entry = "\n".join(lines).partition("{ nkey: UKEY, permissions: ")[2]
    allowed = json.JSONDecoder().raw_decode(entry)[0]
    assert "plc.>" in allowed["publish"]["allow"]
    assert "plc.out" in allowed["subscribe"]["allow"]
    for wrong in (
        "x:publish:plc",
        "cli:publish:$SYS.>",
        "cli:publish:mesh.v1.>",
        "cli:publish:>",
        'cli:publish:a"}',
        "cli",
    ):
        with pytest.raises(InvalidValue, match="--also"):
            authorization_lines(keys, also=[wrong])
    assert not grants()["webrtc-gateway"].publish & {"plc.>"}, "only there"


def test_a_server_certificate_serves_and_calls(tmp_path: Path) -> None:
    authority = certificates.new_authority()
    shown = certificates.read(certificates.issue(authority, "nats", 5, ["nats.local", "::1"]).certificate)
    assert (shown.name, shown.hosts) == ("nats", ("nats.local", "::1"))
    assert certificates.read(certificates.issue(authority, "capture", 5).certificate).hosts == ()
