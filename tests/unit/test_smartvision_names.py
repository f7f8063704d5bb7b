"""The names and signatures of the Smart Vision V2 Python API, held against its document's table."""

import enum
import inspect
import subprocess
import sys

import pytest

from shared.clients import smartvision

# Of each function its parameters, with their defaults where the document gives one.
FUNCTIONS = {
    "configure_camera": "(file_path, set_property, validation)",
    "get_all_cam_ids": "(disable_cache=False)",
    "get_all_cam_index": "()",
    "get_all_cameras": "(disable_cache=False)",
    "get_build_version": "()",
    "get_cam_id": "(cam_index)",
    "get_cam_index": "(cam_id)",
    "get_camera_default_setting": "(idx=0)",
    "get_camera_info": "(idx=0)",
    "get_camera_status": "(idx=0)",
    "get_cvimage": "(img, idx, max_timeout_ms)",
    "get_dst_height": "(idx=0)",
    "get_dst_width": "(idx=0)",
    "get_fps": "(idx=0)",
    "get_idx_by_loc_id": "(loc_id)",
    "get_loc_id_by_idx": "(idx)",
    "get_record_status": "()",
    "get_sensor_model_info": "(idx)",
    "get_tcp_setting": "(cam_id, tcp_setting)",
    "image_read": "(idx=0)",
    "io_send": "(io_str, io_control_file)",
    "log_last_msg": "(log_level)",
    "log_to_stderr": "()",
    "notify_sve": "(phase_enum)",
    "qmm_cleanup": "(cam_id=0)",
    "qmm_cleanup_all": "()",
    "qmm_cleanup_invalid": "()",
    "qmm_status": "(idx=0)",
    "save_result": "(release_id, release_version, origin_file, mask_file, final_file, additional='')",
    "send_signal_off": "(device_id)",
    "send_signal_on": "(device_id, keeptime=None)",
    "set_bpp_binning": "(cam_id, binning_flag, hb, vb, bpp_flag, bpp)",
    "set_log_destination": "(destinationPath='./aidclog_smart_vision_', also_to_stderr=False)",
    "set_log_level": "(log_level)",
    "set_off_mode": "()",
    "start_camera_capture": "(idx=0)",
    "start_record": "(idx)",
    "stop_camera_capture": "(idx=0)",
    "stop_record": "(idx)",
    "tcp_send": "(message, tcp_setting)",
    "tcp_send_signal": "(cam_id, message)",
}
METHODS = {
    "Camera.open": "(self, dev_param=None, cb=None)",  # open(cb) and open(dev_param, cb)
    "Camera.start_capture": "(self)",
    "Camera.stop_capture": "(self)",
    "Camera.close": "(self)",
    "DeviceParam.set_cfgname": "(self, config_file)",
}
FIELDS = {
    "SVSdkMemfdInfo": "srcYPlaneStride srcSliceHeight memCopyStartIndex memCopyEndIndex planeOffset cam_id",
    "TcpConfig": "ip port",
    "MediaInfo": "duration width height frame_rate file_size file_name",
    "DeviceParam": "cfg_name",
}
IMAGE = "data w h c length srcWidth srcHeight memCopyStartIndex memCopyEndIndex planeOffset"
ENUMS = {
    "SVLogLevel": {"SINFO": 0, "SWARNING": 1, "SERROR": 2, "SDEBUG": 3, "SOFF": 4},
    "SignalType": {"OFF": 0, "NG_SIGNAL": 1, "ALARM_SIGNAL": 2, "OK_SIGNAL": 3},
    "SignalMode": {"IO_MODE": 0, "TCP_MODE": 1, "MODBUS_MODE": 2, "UART_MODE": 3},
}


def _parameters(function):
    signature = inspect.signature(function)
    plain = [one.replace(annotation=inspect.Parameter.empty) for one in signature.parameters.values()]
    return str(signature.replace(parameters=plain, return_annotation=inspect.Signature.empty))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_have_the_documents_parameters(name):
    assert _parameters(getattr(smartvision, name)) == FUNCTIONS[name]


@pytest.mark.parametrize("name", METHODS)
def test_methods_have_the_documents_parameters(name):
    kind, _, method = name.partition(".")
    assert _parameters(getattr(getattr(smartvision, kind), method)) == METHODS[name]


def test_values_and_enumerations_have_the_documents_members():
    for name, fields in FIELDS.items():
        value = getattr(smartvision, name)()
        assert [field for field in fields.split() if not hasattr(value, field)] == [], name
    assert [field for field in IMAGE.split() if not hasattr(smartvision.Image, field)] == []
    for name, members in ENUMS.items():
        assert {member.name: member.value for member in getattr(smartvision, name)} == members
    assert issubclass(smartvision.SPhase, enum.IntEnum)


def test_nothing_else_is_public_and_all_of_it_is_told():
    classes = {"Camera", "GetImageCB", "Image", "SPhase", *FIELDS, *ENUMS}
    assert set(smartvision.__all__) == set(FUNCTIONS) | classes
    untold = [name for name in smartvision.__all__ if not (getattr(smartvision, name).__doc__ or "").strip()]
    assert untold == []


def test_importing_it_does_nothing():
    program = (
        "import threading, logging, sys\n"
        "before = (list(threading.enumerate()), list(logging.getLogger().handlers))\n"
        "from shared.clients import smartvision\n"
        "assert before == (list(threading.enumerate()), list(logging.getLogger().handlers))\n"
        "assert not logging.getLogger('framemesh.smartvision').handlers\n"
        "assert 'av' not in sys.modules and 'cv2' not in sys.modules\n"
        "print(smartvision.get_build_version())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert not done.stderr


def test_the_log_goes_where_it_is_told(tmp_path):
    program = (
        "from shared.clients import smartvision as sdk\n"
        "import sys\n"
        f"sdk.set_log_destination({str(tmp_path / 'log_')!r}, False)\n"
        "sdk.send_signal_on(-1)\n"
        "sdk.set_log_destination('/nowhere/at/all_', False)\n"
        "sdk.set_log_level(sdk.SVLogLevel.SOFF)\n"
        "sdk.send_signal_on(-2)\n"
        "sdk.set_log_level(sdk.SVLogLevel.SERROR)\n"
        "sdk.log_to_stderr()\n"
        "sdk.send_signal_on(-3)\n"
        "print(sdk.log_last_msg(sdk.SVLogLevel.SERROR))\n"
        "print(repr(sdk.log_last_msg(sdk.SVLogLevel.SDEBUG)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    [file] = tmp_path.glob("log_*.log")
    text = file.read_text()
    assert "device_id -1" in text
    assert "/nowhere/at/all_" in text
    assert "device_id -2" not in text + done.stderr
    assert "device_id -3" in done.stderr
    assert "device_id -3" not in text
    assert done.stdout.splitlines() == ["send_signal_on: device_id -3: give the number of an output: 1 is do1", "''"]
