"""Run capture: `python -m services.capture`."""

from shared.quick_start import quick_start

if __name__ == "__main__":
    with quick_start():
        from services.capture.service import build
        from services.capture.settings import CaptureSettings
        from shared.service import run_service
    run_service("capture", CaptureSettings, build)
