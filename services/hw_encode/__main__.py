"""Run hw-encode: `python -m services.hw_encode`."""

from services.hw_encode.service import build
from services.hw_encode.settings import HwEncodeSettings
from shared.service import run_service

if __name__ == "__main__":
    run_service("hw-encode", HwEncodeSettings, build)
