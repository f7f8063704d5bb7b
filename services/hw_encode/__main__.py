"""Run hw-encode: `python -m services.hw_encode`."""

from shared.quick_start import quick_start

with quick_start():
    from services.hw_encode.service import build
    from services.hw_encode.settings import HwEncodeSettings
    from shared.service import run_service


def main() -> None:
    """Does not return."""
    run_service("hw-encode", HwEncodeSettings, build)


if __name__ == "__main__":
    main()
