"""The AsyncAPI 3.0 document of the mesh, made from the channel table."""

from importlib.metadata import version
from typing import Any

from msgspec import Struct

from ops.json_schemas import components
from schemas.channel import PARAMETERS, Channel, Encoding
from schemas.channels import CHANNELS, message_types
from schemas.ids import ID_PATTERN

CONTENT_TYPES: dict[Encoding, str] = {
    "json": "application/json",
    "msgpack+bytes": "application/vnd.framemesh.packet",
    "text": "text/plain",
    "empty": "application/octet-stream",
}
_FRAMING = (
    "2 bytes big-endian header length, this header as a msgpack map, then the payload to the end of the message. "
    "Bytes that the schema shows as base64 text are raw bytes in msgpack."
)
_ERROR_HEADERS = {
    "type": "object",
    "description": "There when the command failed; the body is then empty, or the reply with the owner's error.",
    "properties": {
        "Nats-Service-Error-Code": {"type": "string", "pattern": "^[0-9]{3}$"},
        "Nats-Service-Error": {"type": "string", "description": "Safe to show to anyone."},
    },
}
_DESCRIPTION = """\
Subjects, keys and messages of the mesh. Core publish/subscribe, request/reply (each command is a NATS micro endpoint
with the names of its types in its metadata), key-value buckets, and one JetStream stream for events.
What the messages mean is in CONTRACT.md beside this file."""


def document() -> dict[str, Any]:
    """The whole document, ready for YAML."""
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "framemesh", "version": version("framemesh"), "description": _DESCRIPTION},
        "defaultContentType": CONTENT_TYPES["json"],
        "servers": {
            "bus": {
                "host": "127.0.0.1:4222",
                "protocol": "nats",
                "description": "FRAMEMESH_NATS_URL; JetStream is needed, max_payload 8 MiB is advised.",
            }
        },
        "channels": dict(part for channel in CHANNELS for part in _channels(channel)),
        "operations": {name: body for channel in CHANNELS for name, body in _operations(channel)},
        "components": {
            "messages": _messages(),
            "schemas": components(message_types(), "#/components/schemas/{name}"),
        },
    }


def _channels(channel: Channel) -> list[tuple[str, dict[str, Any]]]:
    message = _message_name(channel)
    body: dict[str, Any] = {
        "address": channel.address,
        "description": channel.summary,
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
        "x-semantics": channel.semantics,
        "x-senders": list(channel.senders),
        "x-receivers": list(channel.receivers),
    }
    if channel.parameters:
        body["parameters"] = {name: {"description": PARAMETERS[name]} for name in channel.parameters}
        body["x-parameter-pattern"] = ID_PATTERN
    if channel.bucket:
        body["x-bucket"] = {"name": channel.bucket, "key": channel.key}
    if channel.reply is None:
        return [(channel.name, body)]
    reply = channel.reply.__name__
    answers = {
        "address": None,  # the inbox that the request names
        "description": f"Replies to {channel.name}.",
        "messages": {reply: {"$ref": f"#/components/messages/{reply}"}},
    }
    return [(channel.name, body), (f"{channel.name}.reply", answers)]


def _operations(channel: Channel) -> list[tuple[str, dict[str, Any]]]:
    """One operation for each service that takes part; a command's is that of the service which answers."""
    sides = [("receive", party) for party in channel.receivers]
    if channel.reply is None:
        sides = [("send", party) for party in channel.senders] + sides
    found = []
    for action, party in sides:
        body: dict[str, Any] = {
            "action": action,
            "channel": {"$ref": _pointer("channels", channel.name)},
            "summary": channel.summary,
            "tags": [{"name": party}],
            "messages": [{"$ref": f"{_pointer('channels', channel.name)}/messages/{_message_name(channel)}"}],
        }
        if channel.reply is not None:
            reply = _pointer("channels", f"{channel.name}.reply")
            body["reply"] = {
                "address": {"location": "$message.header#/reply", "description": "NATS's reply subject."},
                "channel": {"$ref": reply},
                "messages": [{"$ref": f"{reply}/messages/{channel.reply.__name__}"}],
            }
        found.append((f"{party}.{action}.{channel.name}", body))
    return found


def _messages() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for channel in CHANNELS:
        found[_message_name(channel)] = _message(channel.payload, channel.encoding, channel.summary)
        if channel.reply is not None:
            found[channel.reply.__name__] = {**_message(channel.reply, "json", ""), "headers": _ERROR_HEADERS}
    return dict(sorted(found.items()))


def _message(kind: type[Struct] | None, encoding: Encoding, summary: str) -> dict[str, Any]:
    body: dict[str, Any] = {"contentType": CONTENT_TYPES[encoding]}
    if kind is None:
        return {**body, "summary": summary, "payload": {"type": "string"}}
    if encoding == "msgpack+bytes":
        body["description"] = _FRAMING
    return {"name": kind.__name__, **body, "payload": {"$ref": f"#/components/schemas/{kind.__name__}"}}


def _message_name(channel: Channel) -> str:
    return channel.payload.__name__ if channel.payload else channel.name


def _pointer(*parts: str) -> str:
    """A reference inside the document (RFC 6901); dots need no escape."""
    return "#/" + "/".join(part.replace("~", "~0").replace("/", "~1") for part in parts)
