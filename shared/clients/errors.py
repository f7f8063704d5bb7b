"""What a client tells an application that gets no pictures: which of the usual reasons it is, and what to do."""

from schemas.errors import BadRequest, NotFound, TooMany, Unavailable


class NoSuchStream(NotFound):
    """Nobody has asked for a stream of this name. Carries `stream` and the names that `exist`."""

    def __init__(self, stream: str, exist: tuple[str, ...]) -> None:
        self.stream, self.exist = stream, exist
        others = f"there are: {', '.join(exist)}" if exist else "there are no streams yet"
        super().__init__(f"stream {stream!r} does not exist ({others}); start it with capture.start, or publish it")


class OtherNode(BadRequest):
    """The pictures are in another host's shared memory. Carries `stream`, `node` that has them, and `here`."""

    def __init__(self, stream: str, node: str, here: str) -> None:
        self.stream, self.node, self.here = stream, node, here
        super().__init__(
            f"the pictures of {stream!r} are on node {node!r}, this application is on node {here!r}; run it there, "
            f"or set FRAMEMESH_NODE={node} if this is that host"
        )


class NoFrames(Unavailable, TimeoutError):
    """The stream exists on this node, but no picture has come in time. Carries `stream` and `why`."""

    def __init__(self, stream: str, waited_seconds: float, why: str) -> None:
        self.stream, self.why = stream, why
        super().__init__(f"no picture of {stream!r} within {waited_seconds:g} s: {why}")


class PicturesHeld(TooMany):
    """The application holds as many pictures of the stream as it may. Carries `stream` and `held`."""

    def __init__(self, stream: str, held: int) -> None:
        self.stream, self.held = stream, held
        super().__init__(
            f"{held} pictures of {stream!r} are held, more would starve its writer; release those that were kept, "
            "and keep a copy (frame.array.copy()) of what is needed for longer"
        )
