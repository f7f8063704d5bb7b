"""Run frame-extractor: `python -m services.frame_extractor`."""

from shared.quick_start import quick_start

with quick_start():
    from services.frame_extractor.service import build
    from services.frame_extractor.settings import FrameExtractorSettings
    from shared.service import run_service


def main() -> None:
    """Does not return."""
    run_service("frame-extractor", FrameExtractorSettings, build)


if __name__ == "__main__":
    main()
