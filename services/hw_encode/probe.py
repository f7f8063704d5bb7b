"""Which encoder works here: `python -m services.hw_encode.probe` prints it as JSON, for `framemesh doctor`."""

import msgspec

from schemas.errors import MeshError
from schemas.resources import RenditionSpec
from services.hw_encode.codecs import Codecs
from services.hw_encode.encoders import first_working

_WIDTH, _HEIGHT = 1280, 720


def main() -> None:
    """Print {"ok", "found"}."""
    codecs = Codecs("hardware")
    try:
        choice = first_working(RenditionSpec(stream="probe"), _WIDTH, _HEIGHT, codecs)
        result = {"ok": True, "found": choice.reason}
    except MeshError as error:
        result = {"ok": False, "found": error.message}
    finally:
        codecs.close()
    print(msgspec.json.encode(result).decode())  # noqa: T201


if __name__ == "__main__":
    main()
