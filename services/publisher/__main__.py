"""Run publisher: `python -m services.publisher`."""

from shared.quick_start import quick_start

with quick_start():
    from services.publisher.service import build
    from services.publisher.settings import PublisherSettings
    from shared.service import run_service


def main() -> None:
    """Does not return."""
    run_service("publisher", PublisherSettings, build)


if __name__ == "__main__":
    main()
