"""The Smart Vision V2 Python API on a mesh: programs written for it run after changing their import.

    from shared.clients import smartvision as smartvisionsdk

    def on_image(image, mem_info):
        picture = smartvisionsdk.get_cvimage(image, mem_info.cam_id, 1000)  # BGR, as OpenCV has it

    camera = smartvisionsdk.Camera()
    if camera.open(on_image) == 0:
        camera.start_capture()

Camera 0 is the stream `cam0`, 1 is `cam1`, …; `FRAMEMESH_SMARTVISION_STREAMS=line1,line2` gives other names.
`FRAMEMESH_NATS_URL`, `_NODE` and `_SHM_DIR` say where the mesh is, as for the services; it is looked for at the first
call. As in that API nothing raises: what fails is told in the log, and by -1, an empty string, 0 or None.
"""

from shared.clients.smartvision.camera import (
    Camera,
    get_camera_status,
    get_dst_height,
    get_dst_width,
    get_fps,
    start_camera_capture,
    stop_camera_capture,
)
from shared.clients.smartvision.configuration import (
    configure_camera,
    get_camera_default_setting,
    get_camera_info,
    set_bpp_binning,
)
from shared.clients.smartvision.enums import SignalMode, SignalType, SPhase, SVLogLevel
from shared.clients.smartvision.image import GetImageCB, Image, SVSdkMemfdInfo
from shared.clients.smartvision.inventory import (
    get_all_cam_ids,
    get_all_cam_index,
    get_all_cameras,
    get_cam_id,
    get_cam_index,
    get_idx_by_loc_id,
    get_loc_id_by_idx,
    get_sensor_model_info,
)
from shared.clients.smartvision.log import log_last_msg, log_to_stderr, set_log_destination, set_log_level
from shared.clients.smartvision.pictures import get_cvimage, image_read
from shared.clients.smartvision.processes import (
    get_build_version,
    qmm_cleanup,
    qmm_cleanup_all,
    qmm_cleanup_invalid,
    qmm_status,
)
from shared.clients.smartvision.profile import DeviceParam
from shared.clients.smartvision.recording import MediaInfo, get_record_status, start_record, stop_record
from shared.clients.smartvision.results import notify_sve, save_result
from shared.clients.smartvision.signals import (
    TcpConfig,
    get_tcp_setting,
    io_send,
    send_signal_off,
    send_signal_on,
    set_off_mode,
    tcp_send,
    tcp_send_signal,
)

__all__ = [
    "Camera",
    "DeviceParam",
    "GetImageCB",
    "Image",
    "MediaInfo",
    "SPhase",
    "SVLogLevel",
    "SVSdkMemfdInfo",
    "SignalMode",
    "SignalType",
    "TcpConfig",
    "configure_camera",
    "get_all_cam_ids",
    "get_all_cam_index",
    "get_all_cameras",
    "get_build_version",
    "get_cam_id",
    "get_cam_index",
    "get_camera_default_setting",
    "get_camera_info",
    "get_camera_status",
    "get_cvimage",
    "get_dst_height",
    "get_dst_width",
    "get_fps",
    "get_idx_by_loc_id",
    "get_loc_id_by_idx",
    "get_record_status",
    "get_sensor_model_info",
    "get_tcp_setting",
    "image_read",
    "io_send",
    "log_last_msg",
    "log_to_stderr",
    "notify_sve",
    "qmm_cleanup",
    "qmm_cleanup_all",
    "qmm_cleanup_invalid",
    "qmm_status",
    "save_result",
    "send_signal_off",
    "send_signal_on",
    "set_bpp_binning",
    "set_log_destination",
    "set_log_level",
    "set_off_mode",
    "start_camera_capture",
    "start_record",
    "stop_camera_capture",
    "stop_record",
    "tcp_send",
    "tcp_send_signal",
]
