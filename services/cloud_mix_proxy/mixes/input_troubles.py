"""Why an input has no pictures: what the mixer sees of it, and what capture knows of its stream."""

from typing import Final

from msgspec.structs import replace

from schemas.errors import ErrorInfo
from schemas.mix_resources import MixInputActual
from schemas.resources import StreamActual

_NOT_THERE: Final = ErrorInfo(code=404, message="there is no such stream any more; start it again")


def with_trouble(seen: MixInputActual, stream: StreamActual | None) -> MixInputActual:
    """An input as the mixer reports it, with the state and the error that its stream gives it.

    One that is live has no error. One whose file has come to its end, and is not looped, is `ended`.
    """
    if not seen.stream or seen.state == "live":
        return seen
    if stream is None:
        return replace(seen, error=_NOT_THERE) if seen.state == "lost" else seen
    if stream.state == "off" and stream.error is None:
        return replace(seen, state="ended")
    return replace(seen, error=stream.error)
