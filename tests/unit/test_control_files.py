"""Texts into control files: only under folders that are allowed, whatever links and names are tried."""

import os
import socket
import stat
from pathlib import Path

import pytest

from schemas.errors import BadRequest
from schemas.signal_resources import SignalSpec
from services.io_signal.hand.drivers.base import DeviceError, Limits
from services.io_signal.hand.drivers.control_file import ControlFileOutput, check, write
from services.io_signal.hand.protocol import Switch
from services.io_signal.hand.texts import text_for, unescaped

pytestmark = pytest.mark.unit


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "io"
    inside.mkdir()
    (inside / "do1").write_text("what was there before")
    (tmp_path / "secret").write_text("untouched")
    return inside


def test_a_file_holds_what_was_written_last(folder: Path) -> None:
    assert write(str(folder / "do1"), (folder,), b"1") > 0
    assert (folder / "do1").read_text() == "1"
    (folder / "sub").mkdir()
    (folder / "sub" / "do2").touch()
    write(str(folder / "sub" / "do2"), (Path("/nowhere"), folder), b"on\n")
    assert (folder / "sub" / "do2").read_text() == "on\n"


def test_a_pipe_gets_the_text_and_is_not_waited_for(folder: Path) -> None:
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(DeviceError, match="nobody reads"):
        write(str(pipe), (folder,), b"1")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write(str(pipe), (folder,), b"1\n")
        assert os.read(reader, 10) == b"1\n"
    finally:
        os.close(reader)


def test_a_link_leads_nowhere_else(folder: Path) -> None:
    (folder / "out").symlink_to(folder.parent / "secret")
    (folder / "up").symlink_to(folder.parent)
    (folder / "here").symlink_to(folder / "do1")
    for path in (folder / "out", folder / "up" / "secret", folder.parent / "secret", folder / ".." / "secret"):
        with pytest.raises(BadRequest, match="FRAMEMESH_IO_SIGNAL_FILE_ROOTS"):
            write(str(path), (folder,), b"1")
    assert (folder.parent / "secret").read_text() == "untouched"
    write(str(folder / "here"), (folder,), b"1")  # within the folder it may
    assert (folder / "do1").read_text() == "1"


def test_a_folder_that_becomes_a_link_while_it_is_opened_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "secret").touch()
    real = os.path.realpath

    def swapped(path: str | Path, *, strict: bool = False) -> str:
        found = real(path, strict=strict)
        if str(path).endswith("secret") and not (folder / "sub").is_symlink():
            (folder / "sub" / "secret").unlink()
            (folder / "sub").rmdir()
            (folder / "sub").symlink_to(folder.parent)
        return found

    monkeypatch.setattr(os.path, "realpath", swapped)
    with pytest.raises(DeviceError):
        write(str(folder / "sub" / "secret"), (folder,), b"1")
    assert (folder.parent / "secret").read_text() == "untouched"


def test_what_is_no_control_file_is_named(folder: Path) -> None:
    (folder / "sub").mkdir()
    for path, roots, error, word in (
        (folder / "do1", (), BadRequest, "FRAMEMESH_IO_SIGNAL_FILE_ROOTS"),
        (folder / "do9", (folder,), DeviceError, "no such file"),
        (folder / "sub", (folder,), DeviceError, "folder"),
        (folder, (folder,), BadRequest, "FILE_ROOTS"),
    ):
        with pytest.raises(error, match=word):
            check(str(path), roots)
    assert not (folder / "do9").exists(), "it is never made"
    listening = socket.socket(socket.AF_UNIX)
    try:
        listening.bind(str(folder / "sock"))
        assert stat.S_ISSOCK((folder / "sock").stat().st_mode)
        with pytest.raises(DeviceError):
            check(str(folder / "sock"), (folder,))
    finally:
        listening.close()


async def test_an_output_of_a_file_that_is_gone_says_so_and_works_again(folder: Path) -> None:
    spec = SignalSpec(signal="do1", mode="io", address=f"file://{folder}/do1")
    output = ControlFileOutput(spec, Limits(file_roots=(folder,)))
    await output.open()
    await output.set(True, "1")
    (folder / "do1").unlink()
    with pytest.raises(DeviceError, match="do1"):
        await output.set(False, "0")
    (folder / "do1").touch()
    await output.set(False, "0")
    assert (folder / "do1").read_text() == "0"
    await output.close()


# -- what is written ---------------------------------------------------------------------------------------------


def test_escapes_are_what_they_mean() -> None:
    assert unescaped(r"a\n\r\t\\n\x41\q") == "a\n\r\t\\nA\\q"
    assert unescaped(r"\x02\xff\xe4").encode(errors="surrogateescape") == b"\x02\xff\xe4"


def test_texts_by_mode_polarity_and_template() -> None:
    def text(on: bool, switch: Switch | None = None, mode: str = "io", **fields: object) -> str:
        spec = SignalSpec(signal="do1", mode=mode, address="", **fields)  # type: ignore[arg-type]
        return text_for(spec, on, switch)

    assert (text(True), text(False)) == ("1", "0")
    assert (text(True, polarity="active-low"), text(False, polarity="active-low")) == ("0", "1")
    assert (text(True, mode="tcp"), text(False, mode="uart")) == ("ON do1\n", "OFF do1\n")
    assert text(True, mode="gpio") == text(True, mode="modbus") == ""
    told = Switch(number=1, signal="do1", on=True, kind="ng", stream="cam3", sequence=7)
    template = r"{signal} {type} {stream} {sequence} {other} {0} {signal.x}\r\n"
    assert text(True, told, on_text=template) == "do1 ng cam3 7 {other} {0} {signal.x}\r\n"
    assert text(True, on_text=template, type="ok", streams=("cam0",)) == "do1 ok cam0  {other} {0} {signal.x}\r\n"
