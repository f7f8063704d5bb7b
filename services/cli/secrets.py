"""Make, show and renew the secrets that lock a mesh's bus: a CA, certificates, and a key for each party.

examples:
  framemesh secrets init secrets                            for a server on this machine, or in compose
  framemesh secrets init secrets --host nats.local --host 10.0.0.5
  framemesh secrets init secrets --party leaf-edge2         one more, for another host
  framemesh secrets show secrets                            what there is, and until when
  eval "$(framemesh secrets env secrets cli)"               be the party `cli` in this shell
  framemesh secrets rotate secrets                          all anew; then reload the server
  framemesh secrets rotate secrets nats --host nats2.local  the server's certificate
  framemesh secrets rotate secrets --certificates           certificates alone: no party has to be told

A second `init` changes nothing that is there. The CA's key, ca.key, may be kept elsewhere until something is to be
added or renewed.
"""

import argparse
import asyncio
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from schemas.errors import InvalidValue, Unavailable
from services.cli.table import table
from shared.bus_access import CA_VARIABLE, CERTIFICATE_VARIABLE, CREDENTIALS_VARIABLE, KEY_VARIABLE

if TYPE_CHECKING:
    from services.launcher.secret_folder import Held, SecretFolder

HELP = "lock a mesh's bus: make, show and renew its secrets"
_DEFAULT_DAYS = 365
_MAX_DAYS = 3650
_SOON_DAYS = 30  # what ends within is marked


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True, dest="action")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("folder", type=Path, metavar="FOLDER")
    common.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="answer in JSON, for machines")
    made = argparse.ArgumentParser(add_help=False)
    made.add_argument("--host", action="append", default=[], metavar="NAME|IP", help="of the server; may be repeated")
    made.add_argument("--days", type=int, default=_DEFAULT_DAYS, metavar="N", help=f"valid for ({_DEFAULT_DAYS})")
    init = actions.add_parser("init", parents=[common, made], help="make what is missing")
    init.add_argument("--party", action="append", default=[], metavar="NAME", help="one more than the usual ones")
    actions.add_parser("show", parents=[common], help="what there is, and until when; no secret")
    env = actions.add_parser("env", parents=[common], help="lines for a shell, to be one party")
    env.add_argument("party", metavar="PARTY")
    rotate = actions.add_parser("rotate", parents=[common, made], help="renew; the server is to be reloaded then")
    rotate.add_argument("names", nargs="*", metavar="PARTY", help="or nats, the server; all when left out")
    rotate.add_argument("--certificates", action="store_true", help="leave the keys: the server goes on knowing them")


async def run(options: argparse.Namespace) -> int:
    try:
        from services.launcher.secret_folder import SecretFolder
    except ImportError as error:
        raise Unavailable(f"{error}; pip install 'framemesh[launcher]'") from None
    folder = SecretFolder(options.folder.expanduser().absolute())
    return await asyncio.to_thread(_ACTIONS[options.action], folder, options)


def _init(folder: "SecretFolder", options: argparse.Namespace) -> int:
    from services.launcher.nats_config import MONITOR
    from shared.permissions import PARTIES

    parties = dict.fromkeys((*PARTIES, MONITOR, *options.party))
    made = folder.init(tuple(parties), tuple(options.host), _days(options))
    if options.json:
        _print({"folder": str(folder.path), "made": made})
    elif made:
        print(f"made {', '.join(made)} in {folder.path}", file=sys.stderr)
        print(f"next: framemesh nats-config standalone --secrets {shlex.quote(str(options.folder))}", file=sys.stderr)
    else:
        print(f"nothing to do: everything is in {folder.path} already", file=sys.stderr)
    return 0


def _show(folder: "SecretFolder", options: argparse.Namespace) -> int:
    held = folder.held()
    if options.json:
        _print([msgspec.to_builtins(one) for one in held])
    else:
        rows = [("PARTY", "CERTIFICATE", "PUBLIC KEY", "")]
        rows += [(one.name, _ends(one), one.public_key or "-", _remark(one)) for one in held]
        print("\n".join(table(rows)))
    return 1 if any(one.until and one.days_left < 0 for one in held) else 0


def _env(folder: "SecretFolder", options: argparse.Namespace) -> int:
    access = folder.access(options.party)
    values = {
        CREDENTIALS_VARIABLE: access.credentials,
        CA_VARIABLE: access.ca,
        CERTIFICATE_VARIABLE: access.certificate,
        KEY_VARIABLE: access.key,
    }
    if options.json:
        _print(values)
    else:
        print("\n".join(f"export {name}={shlex.quote(value)}" for name, value in values.items()))
    return 0


def _rotate(folder: "SecretFolder", options: argparse.Namespace) -> int:
    done = folder.rotate(
        tuple(options.names), hosts=tuple(options.host), days=_days(options), seeds=not options.certificates
    )
    if options.json:
        _print({"folder": str(folder.path), "rotated": done})
        return 0
    print(f"renewed {', '.join(done)}", file=sys.stderr)
    if not options.certificates and any(name != _SERVER for name in done):
        print("next: write nats.conf anew (framemesh nats-config), it has the new public keys", file=sys.stderr)
    print("then reload the server: nats-server --signal reload, or docker compose kill -s HUP nats", file=sys.stderr)
    return 0


_SERVER = "nats"
_ACTIONS = {"init": _init, "show": _show, "env": _env, "rotate": _rotate}


def _days(options: argparse.Namespace) -> int:
    days: int = options.days
    if not 1 <= days <= _MAX_DAYS:
        raise InvalidValue("--days", days, f"1 to {_MAX_DAYS}")
    return days


def _ends(one: "Held") -> str:
    return f"until {one.until[:10]}" if one.until else "-"


def _remark(one: "Held") -> str:
    remarks = []
    if one.until and one.days_left < 0:
        remarks.append("EXPIRED")
    elif one.until and one.days_left < _SOON_DAYS:
        remarks.append(f"ends in {one.days_left} days")
    if one.missing:
        remarks.append(f"not here: {', '.join(one.missing)}")
    if one.hosts:
        remarks.append(f"for {', '.join(one.hosts)}")
    return "; ".join(remarks)


def _print(value: object) -> None:
    print(msgspec.json.encode(value).decode())
