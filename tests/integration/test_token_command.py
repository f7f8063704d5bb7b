"""`framemesh token`, and what a gateway says of files that it cannot take."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.cli.__main__ import main
from shared.tokens import read_key, verify
from tests.support.mesh import RunningMesh

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]
PREFIX = "FRAMEMESH_WEBRTC_GATEWAY_"


@dataclass
class Done:
    returncode: int | str | None
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def token(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """`framemesh token` in this process: the start of another one takes longer than all that it does."""
    # The log of this process is pytest's.
    monkeypatch.setattr("services.cli.__main__.setup_logging", lambda service, log: None)

    def run(*arguments: str) -> Done:
        with pytest.raises(SystemExit) as ended:
            main(["token", *arguments])
        return Done(ended.value.code, *capsys.readouterr())

    return run


@pytest.mark.parametrize("algorithm", ["HS256", "EdDSA"])
def test_a_key_and_a_token_of_it(token: Run, tmp_path: Path, algorithm: str) -> None:
    key = tmp_path / "token.key"
    made = token("--new-key", "--algorithm", algorithm, "-o", str(key))
    assert made.returncode == 0, made.stderr
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.read_text() not in made.stdout + made.stderr
    asked = ("--stream", "cam0", "--stream", "line-*", "--allow", "view,control", "--expires", "1h", "--name", "pc")
    printed = token("--key", str(key), *asked, "--json")
    assert printed.returncode == 0, printed.stderr
    answer = json.loads(printed.stdout)
    checks = read_key(tmp_path / "token.key.pub" if algorithm == "EdDSA" else key)
    claims = verify(answer["token"], checks)
    assert (claims.streams, claims.actions, claims.sub) == (("cam0", "line-*"), ("view", "control"), "pc")
    assert claims.iat is not None
    assert claims.exp - claims.iat == 3600
    assert answer["algorithm"] == algorithm


def test_wrong_usage_is_named(token: Run, tmp_path: Path) -> None:
    key = tmp_path / "token.key"
    assert token("--new-key", "-o", str(key)).returncode == 0
    for arguments, named in (
        (("--new-key", "-o", str(key)), "there already"),
        (("--key", str(key), "--stream", "Cam 0", "--allow", "view"), "streams"),
        (("--key", str(key), "--stream", "cam0", "--allow", "watch"), "actions"),
        (("--key", str(key), "--stream", "cam0", "--allow", "view", "--expires", "tomorrow"), "--expires"),
        (("--key", str(key), "--allow", "view"), "--stream"),
    ):
        refused = token(*arguments)
        assert refused.returncode == 1
        assert named in refused.stderr, refused.stderr
        assert refused.stderr.count("\n") == 1


def test_a_gateway_does_not_start_half_guarded(tmp_path: Path) -> None:
    """Whoever has set tokens must not get an open door because their file is no good."""
    tokens = tmp_path / "tokens.yaml"
    tokens.write_text("[{name: wall, token: a-token-of-the-wall-pc, streams: [cam0], actions: [view]}]")
    tokens.chmod(0o644)
    with pytest.raises(AssertionError, match="0644 lets others use it") as refused:
        RunningMesh(environment={f"{PREFIX}TOKENS_FILE": str(tokens)}).__enter__()
    assert "a-token-of-the-wall-pc" not in str(refused.value)


def test_an_open_door_for_all_the_network_is_told_of() -> None:
    everywhere = {"FRAMEMESH_WEBRTC_GATEWAY_BIND": "0.0.0.0", "FRAMEMESH_WEBRTC_HOSTS": "127.0.0.1"}
    with RunningMesh(environment=everywhere) as mesh:
        assert "whoever reaches 0.0.0.0 may watch" in mesh.log.read_text()
