"""Make a token for the gateway's door: who may view, publish or control which streams, and for how long.

examples:
  framemesh token --new-key -o token.key                        a key, once; the gateway reads the same file
  framemesh token --key token.key --stream cam0 --allow view --expires 1h
  framemesh token --key token.key --stream 'line-*' --stream cam0 --allow view,control --name line-pc
  framemesh token --new-key --algorithm EdDSA -o token.key      and token.key.pub, which is all the gateway needs
  framemesh token --stream cam0 --allow view --json             with FRAMEMESH_WEBRTC_GATEWAY_TOKEN_KEY_FILE set

The gateway takes the key in FRAMEMESH_WEBRTC_GATEWAY_TOKEN_KEY_FILE. Send the token as `Authorization: Bearer …`.
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from schemas.errors import BadRequest, Conflict, InvalidValue, Unavailable
from schemas.tokens import AUDIENCE
from schemas.units import parse_duration

if TYPE_CHECKING:
    from shared.tokens import TokenKey

HELP = "make a token, or a key, for the gateway's door"
KEY_VARIABLE = "FRAMEMESH_WEBRTC_GATEWAY_TOKEN_KEY_FILE"
_MAX_SECONDS = 366 * 86_400.0  # who needs longer uses a tokens file, where a token can be taken out again


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stream", action="append", metavar="ID", help="cam0, line-*, or * for all; may be repeated")
    parser.add_argument("--allow", action="append", metavar="ACTIONS", help="view, publish, control; with commas")
    parser.add_argument("--expires", default="1h", metavar="TIME", help="30s, 15m, 8h, 7d (1h)")
    parser.add_argument("--name", default="", metavar="NAME", help="who holds it, for the gateway's log")
    parser.add_argument("--audience", default=AUDIENCE, metavar="AUD", help=f"who takes it ({AUDIENCE})")
    parser.add_argument("--key", metavar="FILE", help=f"signs it ({KEY_VARIABLE})")
    parser.add_argument("--new-key", action="store_true", help="make a key instead")
    parser.add_argument("--algorithm", choices=("HS256", "EdDSA"), default="HS256", help="of the new key (HS256)")
    parser.add_argument("-o", "--output", metavar="FILE", help="where the new key goes; standard output when left out")


async def run(options: argparse.Namespace) -> int:
    try:
        import shared.tokens as tokens  # of the gateway's extra; the other commands do without
    except ImportError as error:
        raise Unavailable(f"{error}; pip install 'framemesh[webrtc-gateway]'") from None
    if options.new_key:
        await asyncio.to_thread(_new_key, options)
        return 0
    given = options.key or os.environ.get(KEY_VARIABLE)
    if not given:
        raise InvalidValue("--key", "", f"name the key's file, or set {KEY_VARIABLE}; framemesh token --new-key")
    for option, value in (("--stream", options.stream), ("--allow", options.allow)):
        if not value:
            raise InvalidValue(option, "", "say what the token is for: --stream cam0 --allow view")
    seconds = parse_duration(options.expires, "--expires")
    if not 1 <= seconds <= _MAX_SECONDS:
        raise InvalidValue("--expires", options.expires, "1s to 366d")
    actions = tuple(action.strip() for part in options.allow for action in part.split(",") if action.strip())
    streams = tuple(dict.fromkeys(options.stream))
    key: TokenKey = await asyncio.to_thread(_read_key, given)
    claims = tokens.claims_for(streams, tuple(dict.fromkeys(actions)), seconds, options.name, options.audience)
    token = tokens.sign(claims, key)
    if options.json:
        print(msgspec.json.encode({"token": token, "algorithm": key.algorithm, "claims": claims}).decode())
    else:
        print(token)
    return 0


def _read_key(name: str) -> "TokenKey":
    import shared.tokens as tokens

    return tokens.read_key(Path(name).expanduser(), "--key")


def _new_key(options: argparse.Namespace) -> None:
    import shared.tokens as tokens

    public = b""
    if options.algorithm == "EdDSA":
        private, public = tokens.new_key_pair()
    else:
        private = tokens.new_secret()
    if not options.output:
        if options.json:
            parts = {"algorithm": options.algorithm, "key": private.decode(), "public_key": public.decode()}
            print(msgspec.json.encode({name: part for name, part in parts.items() if part}).decode())
        else:
            print((private + public).decode(), end="")
        return
    path = Path(options.output).expanduser()
    files = {path: private}
    if public:
        files[path.with_name(path.name + ".pub")] = public
    for name in files:
        if name.exists():
            raise Conflict(f"{name} is there already; remove it first, its tokens end with it")
    for name, data in files.items():
        _write(name, data)
    if options.json:
        print(msgspec.json.encode({"algorithm": options.algorithm, "files": [str(name) for name in files]}).decode())
    else:
        print(" ".join(str(name) for name in files), file=sys.stderr)


def _write(path: Path, data: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    except OSError as error:
        raise BadRequest(f"{path}: {error.strerror}") from None
