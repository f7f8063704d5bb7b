"""How many bits a picture gets: the rendition's rate control in the words of each family of encoders."""

from dataclasses import dataclass

from schemas.encoding import RateControl
from schemas.resources import RenditionSpec
from schemas.units import parse_bitrate

# The rate buffer of cbr: half a second bounds a key frame's burst to what a viewer's path swallows, at little cost in
# quality; of a bound on vbr and crf: a second, whose bursts are what those are for.
_BUFFER_SECONDS, _LOOSE_BUFFER_SECONDS = 0.5, 1.0
_VBR_PEAK = 1.5  # of the bitrate, when no max_bitrate is given: what Apple's HLS rules allow plus some
_LAMBDA_PER_QP = 118  # libav's FF_QP2LAMBDA: its global_quality counts so


@dataclass(frozen=True)
class Rate:
    """A rendition's rate control in numbers."""

    control: RateControl
    bitrate: int
    """bit/s; 0 with crf and qp."""
    max_bitrate: int
    """bit/s; 0: unbounded."""
    quality: int
    """Quantizer or quality of crf and qp."""

    @classmethod
    def of(cls, spec: RenditionSpec) -> "Rate":
        control = spec.rate_control
        bitrate = parse_bitrate(spec.bitrate) if control in ("cbr", "vbr") else 0
        highest = parse_bitrate(spec.max_bitrate, "max_bitrate") if spec.max_bitrate is not None else 0
        if control == "cbr":
            highest = bitrate
        elif control == "vbr":
            highest = highest or int(bitrate * _VBR_PEAK)
        return cls(control, bitrate, highest, spec.quality or 0)

    @property
    def buffer(self) -> dict[str, str]:
        """libav's `maxrate` and `bufsize`, where there is a bound."""
        if not self.max_bitrate:
            return {}
        seconds = _BUFFER_SECONDS if self.control == "cbr" else _LOOSE_BUFFER_SECONDS
        return {"maxrate": str(self.max_bitrate), "bufsize": str(int(self.max_bitrate * seconds))}


def x26x(rate: Rate) -> dict[str, str]:
    """libx264 and libx265."""
    return {**rate.buffer, **({rate.control: str(rate.quality)} if rate.control in ("crf", "qp") else {})}


def svt_av1(rate: Rate) -> dict[str, str]:
    """SVT in low delay (pred-struct=1) has CBR (rc=2), which takes no bound besides, and constant quality.

    Where it finds screen content by itself (scm), the fast presets leave blocks of earlier pictures standing: of the
    test pattern's time codes every other one was wrong, and the packets took half as much again.
    """
    parameters = {"svtav1-params": f"pred-struct=1:scm=0{':rc=2' if rate.control == 'cbr' else ''}"}
    if rate.control == "cbr":
        return parameters
    return {**parameters, rate.control: str(rate.quality)}


def vpx(rate: Rate) -> dict[str, str]:
    """libvpx: minrate equal to maxrate is its CBR; crf without a bitrate its constant quality."""
    if rate.control == "cbr":
        return {**rate.buffer, "minrate": str(rate.bitrate)}
    if rate.control == "vbr":
        return rate.buffer
    quality = str(rate.quality)
    return {"crf": quality, **({"qmin": quality, "qmax": quality} if rate.control == "qp" else {})}


def bounded(rate: Rate) -> dict[str, str]:
    """libav's own way: a bitrate, or one quantizer for every picture."""
    quality = str(rate.quality)
    return {"qmin": quality, "qmax": quality} if rate.control == "qp" else rate.buffer


def nvenc(rate: Rate) -> dict[str, str]:
    """NVENC: its quality target (`cq`) is a VBR without a bitrate."""
    if rate.control == "qp":
        return {"rc": "constqp", "qp": str(rate.quality)}
    quality = {"cq": str(rate.quality)} if rate.control == "crf" else {}
    return {"rc": "cbr" if rate.control == "cbr" else "vbr", **rate.buffer, **quality}


def qsv(rate: Rate) -> dict[str, str]:
    """Quick Sync: libav takes the method from what is given; a quality alone is ICQ."""
    if rate.control == "crf":
        return {**rate.buffer, "global_quality": str(rate.quality)}
    if rate.control == "qp":
        return {"flags": "+qscale", "global_quality": str(rate.quality * _LAMBDA_PER_QP)}
    return rate.buffer


def amf(rate: Rate) -> dict[str, str]:
    """AMF: peaks within its latency, a quality target, or fixed quantizers."""
    quality = str(rate.quality)
    if rate.control == "qp":
        return {"rc": "cqp", "qp_i": quality, "qp_p": quality}
    if rate.control == "crf":
        return {"rc": "qvbr", "qvbr_quality_level": quality, **rate.buffer}
    return {"rc": "cbr" if rate.control == "cbr" else "vbr_latency", **rate.buffer}
