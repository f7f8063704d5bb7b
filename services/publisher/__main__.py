"""Run publisher: `python -m services.publisher`."""

from services.publisher.service import build
from services.publisher.settings import PublisherSettings
from shared.service import run_service

if __name__ == "__main__":
    run_service("publisher", PublisherSettings, build)
