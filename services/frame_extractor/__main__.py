"""Run frame-extractor: `python -m services.frame_extractor`."""

from services.frame_extractor.service import build
from services.frame_extractor.settings import FrameExtractorSettings
from shared.service import run_service

if __name__ == "__main__":
    run_service("frame-extractor", FrameExtractorSettings, build)
