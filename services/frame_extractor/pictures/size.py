"""How large a picture is made."""

from fractions import Fraction

from schemas.errors import InvalidValue
from schemas.sampling import MAX_EDGE_PIXELS, PictureOptions

_LEAST_EDGE_PIXELS = 2
_MAX_PIXELS = 8_192 * 8_192  # as stills have it: a small request must not take gigabytes
_MAX_WEBP_EDGE_PIXELS = 16_383  # of the format
# Wider or narrower pixels than these are nobody's: a broken header, not an anamorphic lens.
_MOST_STRETCH = 8


def picture_size(
    width: int, height: int, options: PictureOptions, *, sample_aspect: Fraction | None = None, turned: bool = False
) -> tuple[int, int]:
    """Width and height in pixels of the picture that is made of a stored one.

    An edge that follows the other is even, and so are both of `short_side`; an edge that is asked for is as asked.
    Without options it is the stored size in square pixels.

    Args:
        width: of the stored picture, before it is turned.
        height: of the stored picture.
        options: what is asked for, of the picture as it is shown.
        sample_aspect: width of a stored pixel by its height; None and what makes no sense: square.
        turned: it is shown turned by a quarter.

    Raises:
        InvalidValue: that would be larger than pictures may be.
    """
    shown = (width, height)
    if sample_aspect and Fraction(1, _MOST_STRETCH) <= sample_aspect <= _MOST_STRETCH and sample_aspect != 1:
        shown = (_even(width * sample_aspect), height)
    across, down = reversed(shown) if turned else shown
    if options.short_side is not None:
        scale = Fraction(_even(options.short_side), min(across, down))
        size = _even(across * scale), _even(down * scale)
    elif options.width is not None or options.height is not None:
        size = (
            options.width or _even(Fraction(across * (options.height or 0), down)),
            options.height or _even(Fraction(down * (options.width or 0), across)),
        )
    else:
        size = across, down
    _check(size, options)
    return size


def _even(edge_pixels: Fraction | int) -> int:
    return max(_LEAST_EDGE_PIXELS, round(edge_pixels / 2) * 2)


def _check(size: tuple[int, int], options: PictureOptions) -> None:
    edge = _MAX_WEBP_EDGE_PIXELS if options.format == "webp" else MAX_EDGE_PIXELS
    if max(size) <= edge and size[0] * size[1] <= _MAX_PIXELS:
        return
    asked = {name: getattr(options, name) for name in ("short_side", "width", "height")}
    field = next((name for name, value in asked.items() if value is not None), "short_side")
    raise InvalidValue(
        f"pictures.{field}",
        asked[field],
        f"that is a {options.format} of {size[0]}x{size[1]}; use less: edges up to {edge}, {_MAX_PIXELS} pixels in all",
    )
