"""Run capture: `python -m services.capture`."""

from shared.quick_start import quick_start

with quick_start():
    from services.capture.service import build
    from services.capture.settings import CaptureSettings
    from shared.service import run_service


def main() -> None:
    """Does not return."""
    run_service("capture", CaptureSettings, build)


if __name__ == "__main__":
    main()
