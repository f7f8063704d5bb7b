"""From an input's colours to those of the canvas: another matrix, another range, or the light of HDR."""

from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from schemas.colours import ColourSpace
from shared.media.colour.colours import colours_of
from shared.media.colour.facts import assumed_matrix, mark, said, stated
from shared.media.colour.graphs import Step, run
from shared.media.colour.steps import sample_steps
from shared.media.frames import MATRICES

_BT601 = frozenset(("smpte170m", "bt470bg"))
_HDR_TRANSFERS = frozenset(("smpte2084", "arib-std-b67"))
_ONE_THREAD = 1  # each input has a thread of its own


def in_canvas_colours(tile: VideoFrame, source_lines: int, canvas_lines: int) -> VideoFrame:
    """A tile, yuv420p of even edges, in limited range and the matrix of a canvas of so many lines.

    0.14 ms for 960x540; itself where it has them already, as most have.

    Args:
        source_lines: height of the picture that the tile was made of: it tells a matrix that nobody said.
    """
    space, wanted = stated(said(tile), source_lines), assumed_matrix(canvas_lines)
    if space.transfer in _HDR_TRANSFERS:
        return _from_hdr(tile, space, wanted)
    same = space.matrix == wanted or {space.matrix, wanted} <= _BT601
    if same and space.range != "full":
        return tile
    given = colours_of(mark(tile, space))
    levels = "pc" if given.full else "tv"
    # Light and primaries of SD and HD differ by less than is seen.
    return run(
        tile,
        [
            Step(
                "colorspace",
                f"ispace={given.matrix}:irange={levels}:iprimaries=bt709:itrc=bt709"
                f":space={wanted}:range=tv:primaries=bt709:trc=bt709:format=yuv420p",
            )
        ],
    )


def _from_hdr(tile: VideoFrame, space: ColourSpace, wanted: str) -> VideoFrame:
    display = run(mark(tile, space), sample_steps(tile, (tile.width, tile.height), "rgb24"))
    return VideoReformatter().reformat(display, format="yuv420p", dst_colorspace=MATRICES[wanted], threads=_ONE_THREAD)
