"""Access keys of the CloudMix API: the file, the settings, and what must not be taken."""

from pathlib import Path

import pytest

from schemas.errors import BadRequest, InvalidValue, NotFound
from services.cloud_mix_proxy.edge.keys import read_keys

pytestmark = pytest.mark.unit
SECRET, OTHER = "secret-of-the-robot-1", "secret-of-the-studio"


def written(folder: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path = folder / "keys"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


def test_several_names_with_several_keys(tmp_path: Path) -> None:
    path = written(tmp_path, f"robot: AKLTR:{SECRET}\nstudio: [AKLTS2:{OTHER}, 'AKLTS1:{SECRET}/+=:#']\n")
    keys = read_keys(path)
    assert {name: key.owner for name, key in keys.of.items()} == {
        "AKLTR": "robot",
        "AKLTS2": "studio",
        "AKLTS1": "studio",
    }
    assert (keys.secret("AKLTR"), keys.secret("AKLTX"), keys.owner("AKLTS2")) == (SECRET, None, "studio")


def test_nothing_secret_is_shown(tmp_path: Path) -> None:
    keys = read_keys(written(tmp_path, f"robot: AKLTR:{SECRET}"))
    assert SECRET not in f"{keys!r} {keys.of!r} {keys.of['AKLTR']}"


def test_a_key_of_the_settings(tmp_path: Path) -> None:
    keys = read_keys(None, "AKLTMAIN", SECRET)
    assert (keys.secret("AKLTMAIN"), keys.owner("AKLTMAIN")) == (SECRET, "main")
    both = read_keys(written(tmp_path, f"robot: AKLTR:{OTHER}"), "AKLTMAIN", SECRET)
    assert len(both.of) == 2


@pytest.mark.parametrize(("key", "secret"), [("AKLTMAIN", ""), ("", SECRET), ("AKLT", "short"), ("AK:T", SECRET)])
def test_half_a_key_of_the_settings(key: str, secret: str) -> None:
    with pytest.raises(InvalidValue, match="access_key") as refused:
        read_keys(None, key, secret)
    assert not secret or secret not in refused.value.message


@pytest.mark.parametrize("text", ["", "# none yet\n"])
def test_no_keys_shut_the_door(tmp_path: Path, text: str) -> None:
    assert read_keys(written(tmp_path, text)).of == {}


BAD = [
    ("a list", "- a\n"),
    ("no YAML", "robot: [\n"),
    ("bytes", b"\xff\xfe\x00"),
    ("no secret", "robot: AKLTR\n"),
    ("a short secret", "robot: AKLTR:short\n"),
    ("a name twice", f"robot: AKLTR:{SECRET}\nrobot: AKLTQ:{OTHER}\n"),
    ("a key twice", f"robot: AKLTR:{SECRET}\nstudio: AKLTR:{OTHER}\n"),
    ("no name", f"[a]: AKLTR:{SECRET}\n"),
    ("another name", f"Robot_1: AKLTR:{SECRET}\n"),
    ("a name of its own", f"local: AKLTR:{SECRET}\n"),
    ("a mapping", f"robot: {{AKLTR: {SECRET}}}\n"),
    ("a slash in the key", f"robot: AK/LT:{SECRET}\n"),
    ("too many", "robot: [" + ", ".join(f"AKLT{number}:{SECRET}" for number in range(1_025)) + "]\n"),
]


@pytest.mark.parametrize("text", [row[1] for row in BAD], ids=[row[0] for row in BAD])
def test_what_is_no_file_of_keys(tmp_path: Path, text: str | bytes) -> None:
    with pytest.raises(BadRequest, match="access keys file") as refused:
        read_keys(written(tmp_path, text))
    assert SECRET not in refused.value.message


def test_a_file_for_nobody_else(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="chmod"):
        read_keys(written(tmp_path, f"robot: AKLTR:{SECRET}", 0o644))
    with pytest.raises(NotFound, match="access keys file"):
        read_keys(tmp_path / "none")
