"""Run io-signal: `python -m services.io_signal`."""

from shared.quick_start import quick_start

if __name__ == "__main__":
    with quick_start():
        from services.io_signal.service import build
        from services.io_signal.settings import IoSignalSettings
        from shared.service import run_service
    run_service("io-signal", IoSignalSettings, build)
