"""Run io-signal: `python -m services.io_signal`."""

from shared.quick_start import quick_start

with quick_start():
    from services.io_signal.service import build
    from services.io_signal.settings import IoSignalSettings
    from shared.service import run_service


def main() -> None:
    """Does not return."""
    run_service("io-signal", IoSignalSettings, build)


if __name__ == "__main__":
    main()
