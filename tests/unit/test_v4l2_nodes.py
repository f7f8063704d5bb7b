"""Where a camera is plugged in, from trees as sysfs has them."""

from pathlib import Path

import pytest

from schemas.errors import NotFound
from services.capture.v4l2.nodes import find_node, list_nodes

_USB = "devices/pci0000:00/0000:00:14.0/usb1/1-1/1-1.2"


def add(sysfs: Path, number: int, device: str, index: int = 0, subsystem: str = "") -> None:
    """A node below `device` (a path in sysfs); a virtual one when `device` is empty."""
    parent = sysfs / (device or "devices/virtual")
    folder = parent / "video4linux" / f"video{number}"
    folder.mkdir(parents=True)
    (folder / "index").write_text(f"{index}\n")
    (folder / "name").write_text("Camera\x07\n")
    if device:
        (folder / "device").symlink_to("../..")
    if subsystem and not (parent / "subsystem").exists():
        (sysfs / "bus" / subsystem).mkdir(parents=True, exist_ok=True)
        (parent / "subsystem").symlink_to(sysfs / "bus" / subsystem)
    link = sysfs / "class" / "video4linux" / f"video{number}"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(folder)


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    add(tmp_path, 10, f"{_USB}/1-1.2:1.0")
    add(tmp_path, 2, f"{_USB}/1-1.2:1.0", 1)
    add(tmp_path, 3, f"{_USB}/1-1.2:1.2")
    add(tmp_path, 4, "devices/platform/soc/fe801000.csi", subsystem="platform")
    add(tmp_path, 5, "devices/pci0000:00/0000:01:00.0", subsystem="pci")
    add(tmp_path, 7, "")
    (tmp_path / _USB / "serial").write_text("SN\n")
    (tmp_path / _USB / "manufacturer").write_text("Makers\n")
    (tmp_path / "class" / "video4linux" / "v4l-subdev0").mkdir()
    return tmp_path


def test_locations(sysfs: Path) -> None:
    nodes = list_nodes(sysfs, Path("/d"))
    assert {str(node.path): node.location for node in nodes} == {
        "/d/video2": "usb-0000:00:14.0-1.2-index1",
        "/d/video3": "usb-0000:00:14.0-1.2:1.2",
        "/d/video4": "platform-fe801000.csi",
        "/d/video5": "pci-0000:01:00.0",
        "/d/video7": "virtual-video7",
        "/d/video10": "usb-0000:00:14.0-1.2",
    }
    assert [(node.name, node.vendor, node.serial) for node in nodes[:1]] == [("Camera", "Makers", "SN")]


def test_a_camera_under_another_number(sysfs: Path) -> None:
    assert find_node("usb-0000:00:14.0-1.2", sysfs).path == Path("/dev/video10")
    (sysfs / "class" / "video4linux" / "video10").unlink()
    with pytest.raises(NotFound, match=r"there are at: usb-0000:00:14\.0-1\.2:1\.2, platform-fe801000\.csi"):
        find_node("usb-0000:00:14.0-1.2", sysfs)
    add(sysfs, 20, f"{_USB}/1-1.2:1.0")
    assert find_node("usb-0000:00:14.0-1.2", sysfs).path == Path("/dev/video20")


def test_no_sysfs(tmp_path: Path) -> None:
    assert list_nodes(tmp_path) == []
