"""Chains of libavfilter's filters for single pictures, kept from one picture to the next.

A chain beats a conversion of PyAV's for two reasons: its pictures lie in memory that is used again, where 4K pictures
in fresh memory cost as much for the kernel's pages as for the conversion; and `colorspace` goes from one YUV to the
other in one pass, where libswscale goes through RGB in nine times as long.
"""

import tempfile
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from av.filter import Graph
from av.filter.context import FilterContext
from av.video.frame import VideoFrame

# Of a thread: a video has one, two while its pictures change; each keeps a few pictures of memory.
_KEPT = 3
_FILTER_THREADS = 1  # whoever makes pictures has a thread of its own, and other threads other pictures
_kept = threading.local()


class Step(NamedTuple):
    """A filter of libavfilter."""

    filter: str
    args: str = ""
    cube: bytes = b""
    """A file that it reads while it starts: its option `file`."""


class _Key(NamedTuple):
    width: int
    height: int
    format: str
    matrix: int
    range: int
    steps: tuple[Step, ...]


class _Chain(NamedTuple):
    graph: Graph
    source: FilterContext
    sink: FilterContext


def run(frame: VideoFrame, steps: Sequence[Step]) -> VideoFrame:
    """The frame after all steps; itself if there are none. The result may lie in the frame's own memory.

    Raises:
        av.FFmpegError: a filter cannot do that with such a frame.
    """
    if not steps:
        return frame
    chains: OrderedDict[_Key, _Chain] | None = getattr(_kept, "chains", None)
    if chains is None:
        chains = _kept.chains = OrderedDict()
    key = _key(frame, steps)
    chain = chains.pop(key, None) or _build(key)  # taken out: one that fails is not used again
    result = _pass(chain, frame, last=False)
    chains[key] = chain
    while len(chains) > _KEPT:
        chains.popitem(last=False)
    return result


def run_once(frame: VideoFrame, steps: Sequence[Step]) -> VideoFrame:
    """As `run`, for filters that wait for the next frame: there is none."""
    return _pass(_build(_key(frame, steps)), frame, last=True)


def _key(frame: VideoFrame, steps: Sequence[Step]) -> _Key:
    return _Key(frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range, tuple(steps))


def _pass(chain: _Chain, frame: VideoFrame, *, last: bool) -> VideoFrame:
    chain.source.push(frame)
    if last:
        chain.source.push(None)
    result = chain.sink.pull()
    assert isinstance(result, VideoFrame)
    return result


def _build(key: _Key) -> _Chain:
    graph = Graph()
    graph.threads = _FILTER_THREADS
    # Pixels are square here: who asked for the chain has seen to their aspect. No filter of ours reads the time.
    source = last = graph.add(
        "buffer",
        f"video_size={key.width}x{key.height}:pix_fmt={key.format}:time_base=1/1000:pixel_aspect=1/1"
        f":colorspace={key.matrix}:range={key.range}",
    )
    for step in key.steps:
        following = _add(graph, step)
        last.link_to(following)
        last = following
    sink = graph.add("buffersink")
    last.link_to(sink)
    graph.configure()
    return _Chain(graph, source, sink)


def _add(graph: Graph, step: Step) -> FilterContext:
    if not step.cube:
        return graph.add(step.filter, step.args or None)
    with tempfile.NamedTemporaryFile(prefix="framemesh-", suffix=".cube") as file:
        file.write(step.cube)
        file.flush()
        return graph.add(step.filter, f"file={file.name}:{step.args}")
