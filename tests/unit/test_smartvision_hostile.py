"""What programs may hand to the Smart Vision client by mistake: it raises nothing, and waits for nothing."""

import os
from pathlib import Path

import pytest

from shared.clients import smartvision as sdk


@pytest.mark.parametrize("value", [None, "SINFO", [], 17, -1, {}])
def test_no_level_is_no_message(value: object) -> None:
    sdk.set_log_level(value)  # type: ignore[arg-type]
    assert sdk.log_last_msg(value) == ""  # type: ignore[arg-type]


@pytest.mark.parametrize("place", ["a\0b", "/nowhere/at/all/x", "", None])
def test_a_log_that_cannot_be_written_goes_on_where_it_was(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sdk.set_log_destination(place)
    sdk.set_log_level(77)  # type: ignore[arg-type]
    assert "is no level" in sdk.log_last_msg(sdk.SVLogLevel.SERROR)
    sdk.log_to_stderr()


@pytest.mark.parametrize("path", [None, 0, 5.5, [], "", "/", "a\0b", "/dev/zero", "/dev/null"])
def test_what_is_no_file_is_no_profile(path: object) -> None:
    assert sdk.configure_camera(path, True, True) == -1  # type: ignore[arg-type]


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert sdk.configure_camera(str(tmp_path / "pipe"), True, True) == -1
    assert "not a file" in sdk.log_last_msg(sdk.SVLogLevel.SERROR)


def test_a_very_deep_file_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text('{"controls":' + "[" * 100_000)
    assert sdk.configure_camera(str(tmp_path / "deep.json"), True, True) == -1
    assert f"configure_camera: {tmp_path}/deep.json: not JSON" in sdk.log_last_msg(sdk.SVLogLevel.SERROR)
