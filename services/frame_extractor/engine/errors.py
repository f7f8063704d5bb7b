"""What is wrong with a video."""

from schemas.extraction import FailureKind


class VideoError(Exception):
    """No pictures can be taken; `kind` says what is at fault, `message` is safe to show."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind: FailureKind = kind
        self.message = message


class ExcerptError(VideoError):
    """An excerpt lacks something, or is damaged: what is wrong, all of the video tells better."""
