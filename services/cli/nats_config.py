"""Print the configuration of a mesh's NATS server.

examples:
  framemesh nats-config standalone                           open, for this machine alone
  framemesh nats-config standalone --secrets secrets -o nats.conf
  framemesh nats-config standalone --secrets secrets --at /etc/nats/secrets --listen 0.0.0.0:4222
  framemesh nats-config hub --secrets secrets -o nats.conf   one that edge hosts connect to; see docs/many-hosts.md
  framemesh nats-config leaf --hub nats-leaf://hub.local:7422 --node edge1 --party leaf-edge1 -o nats.conf
  framemesh nats-config cluster --name n1 --route n1.local --route n2.local --route n3.local --secrets secrets
  framemesh nats-config standalone --secrets secrets --also webrtc-gateway:publish:plc.hmi.*

With --secrets it is locked: TLS with client certificates, and a user for each party with what that party needs and no
more. What is printed holds no secret; the server reads its own in FOLDER/nats, or where --at says that this is.
"""

import argparse
import asyncio
import sys
from pathlib import Path

import msgspec

from schemas.errors import BadRequest, InvalidValue, Unavailable
from shared.whole_file import write_whole

HELP = "print the configuration of the NATS server"
_DEFAULT_PORT = 4222
_MAX_PORT = 65_535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(title="kinds", metavar="KIND", required=True, dest="kind")
    for name, (text, add, _) in _KINDS.items():
        kind = kinds.add_parser(name, help=text, description=text)
        add_server_arguments(kind)
        add(kind)


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    """What every kind of server takes."""
    parser.add_argument("--secrets", type=Path, metavar="FOLDER", help="of `framemesh secrets init`: lock it")
    parser.add_argument("--at", type=Path, metavar="PATH", help="where the server finds FOLDER/nats (there)")
    parser.add_argument("--listen", metavar="HOST:PORT", help="0.0.0.0:4222 where it is locked, else 127.0.0.1:4222")
    parser.add_argument("--store", type=Path, default=Path("/data/jetstream"), metavar="DIR", help="of JetStream")
    parser.add_argument("--monitor", default="", metavar="HOST:PORT", help="HTTP monitoring, on loopback; none")
    parser.add_argument(
        "--also", action="append", default=[], metavar="PARTY:publish|subscribe:SUBJECT", help="of your own subjects"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="standard output when left out")
    parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="answer in JSON, for machines")


async def run(options: argparse.Namespace) -> int:
    return await asyncio.to_thread(_write, options)


def _write(options: argparse.Namespace) -> int:
    text = _KINDS[options.kind][2](options)
    if options.output:
        path = Path(options.output).expanduser()
        try:
            write_whole(path, text.encode())
        except OSError as error:
            raise BadRequest(f"{path}: {error.strerror}") from None
    if options.json:
        print(msgspec.json.encode({"file": options.output} if options.output else {"configuration": text}).decode())
    elif options.output:
        print(options.output, file=sys.stderr)
    else:
        print(text, end="")
    return 0


def standalone_text(options: argparse.Namespace, *, name: str = "framemesh", domain: str = "", copies: int = 1) -> str:
    """The lines of a server of its own; other kinds add theirs. `name`: empty where they say it. `domain`: of its
    JetStream. `copies`: of each bucket that a cluster may keep."""
    try:
        from services.launcher.nats_config import Standalone, standalone_lines
        from services.launcher.secret_folder import SERVER, SecretFolder
    except ImportError as error:
        raise Unavailable(f"{error}; pip install 'framemesh[launcher]'") from None
    secrets_at, keys = None, None
    if options.secrets is not None:
        folder = SecretFolder(options.secrets.expanduser().absolute())
        keys = folder.public_keys()
        secrets_at = options.at or folder.path / SERVER
    listen = options.listen or f"{'127.0.0.1' if keys is None else '0.0.0.0'}:{_DEFAULT_PORT}"  # noqa: S104
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) <= _MAX_PORT:
        raise InvalidValue("--listen", listen, "give host:port, for example 0.0.0.0:4222")
    return standalone_lines(
        Standalone(
            host=host,
            port=int(port),
            name=name,
            store_dir=options.store,
            domain=domain,
            monitor=options.monitor,
            secrets_at=secrets_at,
            public_keys=keys,
            also=tuple(options.also),
            copies=copies,
        )
    )


def _hub_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--leaves", default="", metavar="HOST:PORT", help="where leaves connect (0.0.0.0:7422)")


def _hub_text(options: argparse.Namespace) -> str:
    from services.launcher.nats_leaf import HubServer, LeafTls, hub_lines
    from services.launcher.secret_folder import CA_FILE, CERTIFICATE_FILE, KEY_FILE, SERVER

    tls = None
    if options.secrets is not None:
        at = options.at or options.secrets.expanduser().absolute() / SERVER
        tls = LeafTls(ca=at / CA_FILE, certificate=at / CERTIFICATE_FILE, key=at / KEY_FILE)
    domain, lines = hub_lines(HubServer(listen=options.leaves or HubServer.listen, tls=tls))
    return standalone_text(options, domain=domain) + lines


def _leaf_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hub", action="append", default=[], metavar="URL", help="nats-leaf://hub.local:7422")
    parser.add_argument("--node", required=True, metavar="ID", help="this host's name in the mesh")
    parser.add_argument(
        "--party", type=Path, metavar="FOLDER", help="leaf-<node> of `framemesh secrets`, where the hub is locked"
    )


def _leaf_text(options: argparse.Namespace) -> str:
    from services.launcher.nats_leaf import LeafServer, LeafTls, leaf_lines
    from services.launcher.secret_folder import CA_FILE, CERTIFICATE_FILE, KEY_FILE

    if options.secrets is not None:
        fix = "a leaf serves its own host, on loopback, and is open there; give --party for the way to the hub"
        raise InvalidValue("--secrets", str(options.secrets), fix)
    tls = None
    if options.party is not None:
        at = options.party.expanduser().absolute()
        tls = LeafTls(ca=at / CA_FILE, certificate=at / CERTIFICATE_FILE, key=at / KEY_FILE)
    leaf = LeafServer(node=options.node, hubs=tuple(options.hub), with_seed=tls is not None, tls=tls)
    domain, lines = leaf_lines(leaf)
    return standalone_text(options, name="", domain=domain) + lines


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", required=True, help="of this server, as n1: it stays for as long as its store")
    parser.add_argument(
        "--route",
        action="append",
        default=[],
        metavar="HOST[:PORT]",
        help="of each server of the cluster, three or more",
    )
    parser.add_argument("--leaves", default="", metavar="HOST:PORT", help="a hub too: where leaves connect")
    parser.add_argument("--listen-routes", default="", metavar="HOST:PORT", help="for the other servers; 0.0.0.0:6222")
    parser.add_argument(
        "--take",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="certificate of a server with a key of its own",
    )


def _cluster_text(options: argparse.Namespace) -> str:
    from services.launcher import nats_cluster
    from services.launcher.secret_folder import CA_FILE, CERTIFICATE_FILE, KEY_FILE, SERVER

    tls = None
    listen = options.listen_routes or f"0.0.0.0:{nats_cluster.ROUTE_PORT}"
    if options.secrets is None:
        if listen.rpartition(":")[0] not in ("127.0.0.1", "[::1]", "localhost"):
            raise InvalidValue(
                "--listen-routes", listen, "routes that are not protected are of loopback only; give --secrets FOLDER"
            )
    else:
        here = options.secrets.expanduser().absolute() / SERVER
        there = options.at or here
        keys = (nats_cluster.key_fingerprint(path) for path in (here / CERTIFICATE_FILE, *options.take))
        tls = nats_cluster.RouteTls(there / CA_FILE, there / CERTIFICATE_FILE, there / KEY_FILE, tuple(keys))
    domain, leaves = "", ""
    if options.leaves:
        from services.launcher.nats_leaf import HubServer, LeafTls, hub_lines

        leaf_tls = None if tls is None else LeafTls(ca=tls.ca, certificate=tls.certificate, key=tls.key)
        domain, leaves = hub_lines(HubServer(listen=options.leaves, tls=leaf_tls))
    lines = standalone_text(options, name="", domain=domain, copies=nats_cluster.MOST_COPIES) + leaves
    server = nats_cluster.ClusterServer(name=options.name, routes=tuple(options.route), listen=listen, tls=tls)
    return lines + nats_cluster.cluster_lines(server)


def _nothing(_parser: argparse.ArgumentParser) -> None:
    """It has no options of its own."""


# What it is, what options it has besides, and what prints it.
_KINDS = {
    "standalone": ("a server of its own", _nothing, standalone_text),
    "hub": ("a server that edge hosts connect theirs to", _hub_arguments, _hub_text),
    "leaf": ("the server of an edge host", _leaf_arguments, _leaf_text),
    "cluster": ("one server of a cluster, which keeps the state together with the others", _add_cluster, _cluster_text),
}
