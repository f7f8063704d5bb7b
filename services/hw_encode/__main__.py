"""Run hw-encode: `python -m services.hw_encode`."""

from shared.quick_start import quick_start

if __name__ == "__main__":
    with quick_start():
        from services.hw_encode.service import build
        from services.hw_encode.settings import HwEncodeSettings
        from shared.service import run_service
    run_service("hw-encode", HwEncodeSettings, build)
