"""Where an encoder of sail may write, and what is in its way."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import shared.clients.sail as sail
from schemas.errors import InvalidValue
from shared.clients.sail.file_writer import FileWriter
from shared.clients.sail.request import read_request

_PARAMETERS = "width=320:height=180"


def _file(output_path: Any, parameters: Any = _PARAMETERS) -> Path:
    found = read_request(output_path, 0, "h264_bm", "I420", parameters, 5).file
    assert found is not None
    return found


def test_a_link_leads_to_its_file(tmp_path: Path) -> None:
    (tmp_path / "link.mp4").symlink_to(tmp_path / "target.mp4")
    assert _file(str(tmp_path / "link.mp4")) == _file(tmp_path / "target.mp4") == tmp_path.resolve() / "target.mp4"


def test_what_is_no_file_is_never_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for name in ("pipe", "link"):
        with pytest.raises(InvalidValue, match="it is a device or a pipe; name a file"):
            _file(tmp_path / name)


@pytest.mark.parametrize(
    ("output_path", "parameters", "told"),
    [
        (5, _PARAMETERS, "output_path 5: write one string"),
        (b"x.mp4", _PARAMETERS, "output_path b'x.mp4': write one string"),
        ("x\0.mp4", _PARAMETERS, "no zero bytes in a name"),
        ("x.mp4", None, "enc_params None: write one string"),
    ],
)
def test_arguments_of_another_type(output_path: Any, parameters: Any, told: str) -> None:
    with pytest.raises(InvalidValue, match=told):
        _file(output_path, parameters)


def test_a_place_that_takes_no_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="no file can be made beside it: File name too long"):
        FileWriter(tmp_path / f"{'x' * 240}.mp4", "mp4")


def test_two_with_one_name_do_not_share_what_grows(tmp_path: Path) -> None:
    writers = [FileWriter(tmp_path / "a.mp4", "mp4") for _ in range(2)]
    assert len({writer._beside for writer in writers}) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("ext", "width"), [(None, 16), (".webp", 16384)])
def test_a_still_that_cannot_be_raises_nothing(ext: Any, width: int, caplog: pytest.LogCaptureFixture) -> None:
    assert sail.Encoder().pic_encode(ext, np.zeros((2, width, 3), np.uint8)).size == 0
    assert len(caplog.messages) == 1
