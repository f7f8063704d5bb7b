"""Run capture: `python -m services.capture`."""

from services.capture.service import build
from services.capture.settings import CaptureSettings
from shared.service import run_service

if __name__ == "__main__":
    run_service("capture", CaptureSettings, build)
