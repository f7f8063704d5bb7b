"""Pictures as encoders take them: converted once for all renditions of a stream that need the same.

Of each form the newest two pictures are kept, and only while more than one rendition needs that form. A small
rendition of a stream in RGB is scaled from the whole picture in 4:2:0 where another one needs that as well: half the
bytes, and no colours to mix a second time (1080p to 640x360: 0.5 ms instead of 2.4 ms).
"""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import msgspec
from av.video.frame import VideoFrame

from schemas.frames import FrameRef, PixelFormat
from schemas.resources import Fit
from services.hw_encode.canvas import Canvas
from services.hw_encode.placement import Placement, is_other, placement
from shared import pixel_formats
from shared.media.colour.facts import mark, said, stated
from shared.media.colour.graphs import run
from shared.media.colour.steps import sample_steps
from shared.media.frames import Area, convert, copied, cropped_frame, even, ref_frame, sibling
from shared.pixel_formats import Picture

_SHARERS = 2
_KEPT = 2  # the picture that is being converted, and the one before for a rendition that is a little late
# A conversion of 4K takes 10 ms; who has waited so long finds the other thread starved, and converts for itself.
_WAIT_SECONDS = 0.25
_KEPT_PLANS = 256  # every rendition of a large node


class Form(NamedTuple):
    """How an encoder takes pictures."""

    pixel_format: str
    """libav's."""
    place: Placement
    """Where the stream's picture lies in it."""
    sd_matrix: bool = False
    """It is BT.601 of limited range, whatever the stream's is."""


Moment = tuple[int, int]
"""Epoch and sequence of a picture."""


class ConversionCounts(msgspec.Struct):
    converted: int = 0
    shared: int = 0
    """Pictures that another rendition had converted already."""
    late: int = 0
    """Pictures converted twice, because the other rendition took too long."""


@dataclass(eq=False)
class _Shared:
    frame: VideoFrame | None = None
    done: threading.Event = field(default_factory=threading.Event)


class Pictures:
    """What the renditions of one stream share. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._needs: dict[PictureSource, tuple[Form, ...]] = {}
        self._needed: Counter[Form] = Counter()
        self._kept: dict[Form, dict[Moment, _Shared]] = {}

    def need(self, source: "PictureSource", forms: tuple[Form, ...]) -> None:
        """From now on `source` needs these forms, and no others."""
        with self._lock:
            before = self._needs.pop(source, ())
            if forms:
                self._needs[source] = forms
            self._needed = Counter(form for needed in self._needs.values() for form in needed)
            for form in before:
                if self._needed[form] < _SHARERS:
                    self._kept.pop(form, None)  # a stopped stream keeps no memory

    def shares(self, form: Form) -> bool:
        """Whether more than one rendition needs this form."""
        return self._needed[form] >= _SHARERS

    def get(
        self, form: Form, moment: Moment, make: Callable[[], VideoFrame], counts: ConversionCounts, *, keep: bool
    ) -> VideoFrame:
        """The picture in this form, made now or by another thread; read only, and of others too if `keep`."""
        entry, mine = self._entry(form, moment) if keep else (None, True)
        if entry is None:
            counts.converted += 1
            return make()
        if not mine:
            if entry.done.wait(_WAIT_SECONDS) and entry.frame is not None:
                counts.shared += 1
                return sibling(entry.frame)
            counts.late += 1
            return make()
        try:
            counts.converted += 1
            entry.frame = make()
        finally:
            entry.done.set()  # after a failure too: who waits tries it alone
        return sibling(entry.frame)

    def _entry(self, form: Form, moment: Moment) -> tuple[_Shared | None, bool]:
        """The picture's place, and whether the caller is to fill it; none when the picture is older than all kept."""
        with self._lock:
            kept = self._kept.setdefault(form, {})
            found = kept.get(moment)
            if found is not None:
                return found, False
            if len(kept) >= _KEPT:
                oldest = min(kept)
                if moment < oldest:
                    return None, True
                del kept[oldest]
            entry = kept[moment] = _Shared()
            return entry, True


class PicturesOfStreams:
    """`Pictures` of every stream that is being encoded. Belongs to the event loop."""

    def __init__(self) -> None:
        self._streams: dict[str, tuple[Pictures, int]] = {}

    def open(self, stream: str) -> Pictures:
        """For one more rendition of this stream; `close` it once."""
        pictures, users = self._streams.get(stream, (Pictures(), 0))
        self._streams[stream] = pictures, users + 1
        return pictures

    def close(self, stream: str) -> None:
        pictures, users = self._streams[stream]
        if users > 1:
            self._streams[stream] = pictures, users - 1
        else:
            del self._streams[stream]


class PictureSource:
    """One rendition's end. Belongs to its thread."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures
        self._plan: _Plan | None = None
        self._canvas: Canvas | None = None
        self.counts = ConversionCounts()

    def close(self) -> None:
        """The rendition needs no more pictures."""
        self._plan = self._canvas = None
        self._pictures.need(self, ())

    def frame(
        self,
        array: Picture,
        ref: FrameRef,
        pixel_format: str,
        size: tuple[int, int] | None,
        fit: Fit,
        *,
        own: bool,
        sd_matrix: bool = False,
    ) -> VideoFrame:
        """The picture as the encoder takes it; the frame is the caller's, its memory is to be read only.

        Args:
            array: the leased picture, in the form `ref` says; stays alive for as long as libav holds the frame.
            own: memory of its own, because libav may read it after the lease has ended.
        """
        other = is_other(ref.colour_space, ref.height, sd_matrix=sd_matrix)
        form = Form(pixel_format, placement(ref, size, fit), sd_matrix and other)
        plan = _plan(ref.pixel_format, ref.width, ref.height, other, form)
        if plan != self._plan:
            self._plan, self._canvas = plan, None
            self._pictures.need(self, tuple(form for form in (plan.form, plan.whole) if form))
        if plan.as_it_is and not own:
            return ref_frame(array, ref)
        share, moment = self._pictures.shares(plan.form), (ref.epoch, ref.sequence)

        def make() -> VideoFrame:
            if plan.whole is None or not self._pictures.shares(plan.whole):
                return self._made(ref_frame(array, ref, plan.cut), ref, plan, own or share)
            whole = self._pictures.get(plan.whole, moment, make_whole, self.counts, keep=True)
            return self._made(cropped_frame(whole, plan.form.place.source), ref, plan, own or share)

        def make_whole() -> VideoFrame:
            return convert(ref_frame(array, ref), pixel_format)

        return self._pictures.get(plan.form, moment, make, self.counts, keep=share)

    def _made(self, source: VideoFrame, ref: FrameRef, plan: "_Plan", own: bool) -> VideoFrame:
        pixel_format, place, sd_matrix = plan.form
        size = place.target.width, place.target.height
        if sd_matrix:
            mark(source, stated(said(source), ref.height))  # a part of it may be too low to be taken for what it is
            picture = run(source, sample_steps(source, size, "webp"))
        else:
            picture = convert(source, pixel_format, *size, ref.height)
        if place.has_bars:
            if self._canvas is None:
                self._canvas = Canvas(pixel_format, place)
            return self._canvas.put(picture)
        # Copied where nothing was converted: the ring's slot must not be held for other renditions and for libav.
        return copied(picture) if picture is source and own else picture


@dataclass(frozen=True)
class _Plan:
    """How a stream's pictures become those of a form."""

    form: Form
    as_it_is: bool
    cut: Area | None
    """What is taken of the stream's picture; None: all."""
    whole: Form | None
    """The form it can be scaled from, when others need that too."""


@lru_cache(_KEPT_PLANS)
def _plan(source_format: PixelFormat, width: int, height: int, other: bool, form: Form) -> _Plan:
    """`other`: its colours are not those that the encoder takes."""
    pixel_format, place, sd_matrix = form
    full = Area(0, 0, width, height)
    even_edges = (even(width), even(height)) == (width, height)
    smaller = place.target.width <= place.source.width and place.target.height <= place.source.height
    whole = None
    own_colours = source_format in pixel_formats.SUBSAMPLED or pixel_format == "nv12" or sd_matrix
    if smaller and even_edges and not own_colours:
        whole = Form(pixel_format, Placement(full, full, width, height))
    return _Plan(
        form=form,
        as_it_is=source_format == pixel_format and (place.width, place.height) == (width, height) and not other,
        cut=None if place.source == full else place.source,
        whole=whole if whole != form else None,
    )
