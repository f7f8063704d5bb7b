"""What clients say: taken leniently, as there are many of them, and newer ones than this."""

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

_CLIENT_CHARACTERS = 40  # in the list of sessions

Role = Literal["sendonly", "recvonly", "sendrecv"]


class AudioOptions(Struct, frozen=True):
    codec_type: str = "OPUS"
    bit_rate: int | None = None
    """kbit/s."""
    opus_params: dict[str, Any] = {}


class Vp9Params(Struct, frozen=True):
    profile_id: Annotated[int, Meta(ge=0, le=3)] = 0


class Av1Params(Struct, frozen=True):
    profile: Annotated[int, Meta(ge=0, le=2)] = 0


class H264Params(Struct, frozen=True):
    profile_level_id: Annotated[str, Meta(pattern="^[0-9A-Fa-f]{6}$(?!\\n)")] = "42e01f"


class VideoOptions(Struct, frozen=True):
    codec_type: str | None = None
    """VP8, VP9, AV1, H264 or H265; None: ours to choose."""
    bit_rate: int | None = None
    """kbit/s."""
    vp9_params: Vp9Params | None = None
    av1_params: Av1Params | None = None
    h264_params: H264Params | None = None


class Connect(Struct, frozen=True, tag_field="type", tag="connect"):
    """The first message. Its metadata holds a token: it is never logged."""

    role: str
    channel_id: str = ""
    client_id: str | None = None
    bundle_id: str | None = None
    metadata: Any = None
    signaling_notify_metadata: Any = None
    audio: bool | AudioOptions = True
    video: bool | VideoOptions = True
    sora_client: Any = None
    audio_streaming_language_code: str | None = None
    redirect: bool = False
    """Another gateway has sent it here."""
    simulcast: Any = None
    """Whether it sends its pictures in several sizes: true or nothing."""
    data_channel_signaling: bool | None = None
    ignore_disconnect_websocket: bool | None = None
    data_channels: Any = None
    """See `sora.labels`."""
    simulcast_rid: Any = None
    """See `sora.wishes`, as the next ones."""
    simulcast_request_rid: Any = None
    spotlight: Any = None
    spotlight_number: Any = None
    spotlight_focus_rid: Any = None
    spotlight_unfocus_rid: Any = None
    forwarding_filter: Any = None
    """See `sora.forwarding`, which says what is wrong with it."""
    forwarding_filters: Any = None

    @property
    def token(self) -> str | None:
        """The access token; None: there is none."""
        token = self.metadata.get("access_token") if isinstance(self.metadata, dict) else None
        return token if isinstance(token, str) else None

    @property
    def client(self) -> str:
        """What the client calls itself, shortened; its User-Agent says nothing."""
        name = self.sora_client
        return re.sub(r"[^ -~]", "", name)[:_CLIENT_CHARACTERS] if isinstance(name, str) else ""


class SaidSdp(Struct, frozen=True, tag_field="type", tag="answer"):
    sdp: str


class SaidAgain(Struct, frozen=True, tag_field="type", tag="re-answer"):
    sdp: str


class Updated(Struct, frozen=True, tag_field="type", tag="update"):
    """The `re-answer` of older clients."""

    sdp: str


class Candidate(Struct, frozen=True, tag_field="type", tag="candidate"):
    """Not needed: an ICE-lite side learns the peer's address from its checks."""


class Pong(Struct, frozen=True, tag_field="type", tag="pong"):
    """A sign of life, with statistics where they were asked for."""

    stats: msgspec.Raw = msgspec.Raw()


class SaidStats(Struct, frozen=True, tag_field="type", tag="stats"):
    """The same over a data channel."""

    reports: msgspec.Raw = msgspec.Raw()


class Disconnect(Struct, frozen=True, tag_field="type", tag="disconnect"):
    reason: str = ""


FromClient = Connect | SaidSdp | SaidAgain | Updated | Candidate | Pong | SaidStats | Disconnect
_decoder: msgspec.json.Decoder[FromClient] = msgspec.json.Decoder(FromClient)


# Some clients write C's infinities into statistics, which no reader of JSON takes.
_NO_NUMBER = re.compile(r"(?<=[:,\[])\s*-?(?:inf|nan)(?=[,\]}])")


def read(text: str) -> FromClient:
    """Raises:
    msgspec.DecodeError: not JSON, of no type that we know, or a field is none.
    """
    try:
        return _decode(text)
    except msgspec.DecodeError:
        mended = _NO_NUMBER.sub("null", text)
        if mended == text:
            raise
    return _decode(mended)


def _decode(text: str) -> FromClient:
    try:
        return _decoder.decode(text)
    except RecursionError:
        raise msgspec.DecodeError("nested too deeply") from None
