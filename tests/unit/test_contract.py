"""The contract: generated files are fresh and sound, and the Structs behave as it says."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
import pytest
import yaml
from msgspec import Struct

from ops import asyncapi, generate, json_schemas, tables
from ops.permissions import grants
from schemas import subjects
from schemas.channel import PARAMETERS, Channel
from schemas.channels import CHANNELS, RUNNING_SERVICES, message_types
from schemas.mix_resources import MixSpec
from schemas.resources import OutputSpec, RenditionSpec, StreamSpec
from schemas.sample_resources import SampleSpec
from schemas.signal_resources import InputSpec, RuleSpec, SignalSpec

REPOSITORY = Path(__file__).parents[2]
TYPES = json_schemas.documented_types()
OWN_SECRETS = ("capture", "publisher", "frame-extractor", "cloud-mix-proxy")
# One subject of each channel as the builders make it.
BUILT = {
    "frames": subjects.frames("edge1", "cam0"),
    "meta": subjects.picture_values("edge1", "cam0"),
    "audio": subjects.audio("edge1", "cam0"),
    "ack": subjects.ack("edge1", "cam0"),
    "packets": subjects.packets("cam0", "main", "video"),
    "ingest": subjects.ingest("edge1", "cam0", "video"),
    "ingest-session": subjects.ingest_session("edge1", "cam0"),
    "ingest-key-frame": subjects.ingest_key_frame("edge1", "cam0"),
    "capture.start": subjects.command("capture", "start"),
    "capture.stop": subjects.command("capture", "stop"),
    "capture.list": subjects.command("capture", "list"),
    "capture.snapshot": subjects.command("capture", "snapshot", "cam0"),
    "capture.stats": subjects.command("capture", "stats", "cam0"),
    "capture.configure": subjects.command("capture", "configure", "cam0"),
    "capture.trigger": subjects.command("capture", "trigger", "cam0"),
    "capture.keyframe": subjects.command("capture", "keyframe", "cam0"),
    "capture.restart": subjects.command("capture", "restart", "cam0"),
    "capture.ptz": subjects.command("capture", "ptz", "cam0"),
    "capture.devices": subjects.command("capture", "devices", "edge1"),
    "fleet.ps": subjects.command("fleet", "ps", "edge1"),
    "fleet.scale": subjects.command("fleet", "scale", "edge1"),
    "fleet.restart": subjects.command("fleet", "restart", "edge1"),
    "fleet.start": subjects.command("fleet", "start", "edge1"),
    "fleet.stop": subjects.command("fleet", "stop", "edge1"),
    "fleet.logs": subjects.command("fleet", "logs", "edge1"),
    "hw-encode.start": subjects.command("hw-encode", "start"),
    "hw-encode.stop": subjects.command("hw-encode", "stop"),
    "hw-encode.list": subjects.command("hw-encode", "list"),
    "hw-encode.keyframe": subjects.command("hw-encode", "keyframe", "cam0--main"),
    "publisher.start": subjects.command("publisher", "start"),
    "publisher.stop": subjects.command("publisher", "stop"),
    "publisher.list": subjects.command("publisher", "list"),
    "publisher.start-recording": subjects.command("publisher", "start-recording"),
    "publisher.recording": subjects.command("publisher", "recording"),
    "publisher.stop-recording": subjects.command("publisher", "stop-recording"),
    "publisher.recordings": subjects.command("publisher", "recordings", "edge1"),
    "publisher.fetch": subjects.command("publisher", "fetch", "edge1"),
    "publisher.delete-recording": subjects.command("publisher", "delete-recording", "edge1"),
    "publisher.clip": subjects.command("publisher", "clip", "edge1"),
    "hw-encode.stats": subjects.command("hw-encode", "stats", "cam0--main"),
    "hw-encode.pic-encode": subjects.command("hw-encode", "pic-encode", "edge1"),
    "webrtc-gateway.sessions": subjects.command("webrtc-gateway", "sessions"),
    "webrtc-gateway.stats": subjects.command("webrtc-gateway", "stats"),
    "webrtc-gateway.kick": subjects.command("webrtc-gateway", "kick"),
    "webrtc-gateway.channels": subjects.command("webrtc-gateway", "channels"),
    "webrtc-gateway.client-stats": subjects.command("webrtc-gateway", "client-stats"),
    "webrtc-gateway.push": subjects.command("webrtc-gateway", "push"),
    "webrtc-gateway.disconnect": subjects.command("webrtc-gateway", "disconnect"),
    "webrtc-gateway.local-client-stats": subjects.command("webrtc-gateway", "local-client-stats", "edge1"),
    "webrtc-gateway.local-channels": subjects.command("webrtc-gateway", "local-channels", "edge1"),
    "webrtc-gateway.local-push": subjects.command("webrtc-gateway", "local-push", "edge1"),
    "webrtc-gateway.local-disconnect": subjects.command("webrtc-gateway", "local-disconnect", "edge1"),
    "webrtc-gateway.layer": subjects.command("webrtc-gateway", "layer"),
    "webrtc-gateway.local-layer": subjects.command("webrtc-gateway", "local-layer", "edge1"),
    "webrtc-gateway.publishers": subjects.command("webrtc-gateway", "publishers"),
    "webrtc-gateway.local-publishers": subjects.command("webrtc-gateway", "local-publishers", "edge1"),
    "webrtc-gateway.local-sessions": subjects.command("webrtc-gateway", "local-sessions", "edge1"),
    "webrtc-gateway.local-stats": subjects.command("webrtc-gateway", "local-stats", "edge1"),
    "webrtc-gateway.local-kick": subjects.command("webrtc-gateway", "local-kick", "edge1"),
    "frame-extractor.submit": subjects.command("frame-extractor", "submit"),
    "frame-extractor.poll": subjects.command("frame-extractor", "poll"),
    "frame-extractor.cancel": subjects.command("frame-extractor", "cancel"),
    "frame-extractor.list": subjects.command("frame-extractor", "list"),
    "frame-extractor.fetch": subjects.command("frame-extractor", "fetch"),
    "frame-extractor.usage": subjects.command("frame-extractor", "usage"),
    "publisher.moment": subjects.command("publisher", "moment", "edge1"),
    "frame-extractor.picture": subjects.command("frame-extractor", "picture"),
    "frame-extractor.local-picture": subjects.command("frame-extractor", "local-picture", "edge1"),
    "frame-extractor.start-sample": subjects.command("frame-extractor", "start-sample"),
    "frame-extractor.stop-sample": subjects.command("frame-extractor", "stop-sample"),
    "frame-extractor.samples": subjects.command("frame-extractor", "samples"),
    "cloud-mix-proxy.create": subjects.command("cloud-mix-proxy", "create"),
    "cloud-mix-proxy.update": subjects.command("cloud-mix-proxy", "update"),
    "cloud-mix-proxy.delete": subjects.command("cloud-mix-proxy", "delete"),
    "cloud-mix-proxy.get": subjects.command("cloud-mix-proxy", "get"),
    "cloud-mix-proxy.list": subjects.command("cloud-mix-proxy", "list"),
    "desired.cloud-mix-proxy": "$KV.mesh_desired." + subjects.state_key("cloud-mix-proxy", "wall"),
    "actual.cloud-mix-proxy": "$KV.mesh_actual." + subjects.state_key("cloud-mix-proxy", "wall"),
    "secrets.cloud-mix-proxy": "$KV.mesh_secrets." + subjects.state_key("cloud-mix-proxy", "wall"),
    "desired.frame-extractor": "$KV.mesh_desired." + subjects.state_key("frame-extractor", "cam0--hourly"),
    "actual.frame-extractor": "$KV.mesh_actual." + subjects.state_key("frame-extractor", "cam0--hourly"),
    "samples.frame-extractor": "$KV.mesh_samples." + subjects.state_key("frame-extractor", "cam0--hourly"),
    "jobs": subjects.job_tasks(),
    "cloud-mix-proxy.tasks": subjects.command("cloud-mix-proxy", "tasks"),
    "io-signal.start": subjects.command("io-signal", "start"),
    "io-signal.stop": subjects.command("io-signal", "stop"),
    "io-signal.start-input": subjects.command("io-signal", "start-input"),
    "io-signal.stop-input": subjects.command("io-signal", "stop-input"),
    "io-signal.start-rule": subjects.command("io-signal", "start-rule"),
    "io-signal.stop-rule": subjects.command("io-signal", "stop-rule"),
    "io-signal.test-rule": subjects.command("io-signal", "test-rule"),
    "io-signal.list": subjects.command("io-signal", "list"),
    "io-signal.on": subjects.command("io-signal", "on"),
    "io-signal.off": subjects.command("io-signal", "off"),
    "io-signal.pulse": subjects.command("io-signal", "pulse"),
    "io-signal.off-mode": subjects.command("io-signal", "off-mode"),
    "io-signal.tcp-setting": subjects.command("io-signal", "tcp-setting"),
    "io-signal.tcp-send": subjects.command("io-signal", "tcp-send"),
    "io-signal.io-send": subjects.command("io-signal", "io-send"),
    "io-signal.signal-on": subjects.command("io-signal", "on", "do1"),
    "io-signal.signal-off": subjects.command("io-signal", "off", "do1"),
    "io-signal.signal-pulse": subjects.command("io-signal", "pulse", "do1"),
    "io-signal.signal-send": subjects.command("io-signal", "tcp-send", "do1"),
    "io-signal.local-io-send": subjects.command("io-signal", "local-io-send", "edge1"),
    "io-signal.local-off-mode": subjects.command("io-signal", "local-off-mode", "edge1"),
    "desired.io-signal": "$KV.mesh_desired." + subjects.state_key("io-signal", "do1"),
    "desired.io-input": "$KV.mesh_desired." + subjects.state_key("io-input", "di1"),
    "desired.io-rule": "$KV.mesh_desired." + subjects.state_key("io-rule", "reject"),
    "actual.io-signal": "$KV.mesh_actual." + subjects.state_key("io-signal", "do1"),
    "actual.io-input": "$KV.mesh_actual." + subjects.state_key("io-input", "di1"),
    "actual.io-rule": "$KV.mesh_actual." + subjects.state_key("io-rule", "reject"),
    "mix-callbacks": subjects.mix_callbacks(),
    "mix-tasks.record": "$KV.mesh_mix_tasks." + subjects.mix_task_key("3b1a7bb73ab6b06c"),
    "mix-tasks.name": "$KV.mesh_mix_tasks." + subjects.mix_task_name_key("0a1b", "2c3d"),
    "mix-tasks.callback": "$KV.mesh_mix_tasks." + subjects.mix_callback_key("3b1a7bb73ab6b06c"),
    "mix-leases": "$KV.mesh_mix_leases." + subjects.mix_lease_key("3b1a7bb73ab6b06c"),
    "jobs.record": "$KV.mesh_jobs." + subjects.job_key("task-20260504100000-abc123"),
    "jobs.key": "$KV.mesh_jobs." + subjects.job_name_key("mesh", "0a1b"),
    "job-pages": "$KV.mesh_job_pages." + subjects.job_page_key("task-20260504100000-abc123", "1", "0"),
    "usage": "$KV.mesh_usage." + subjects.usage_key("mesh", "20260504"),
    "secrets.frame-extractor": "$KV.mesh_secrets."
    + subjects.state_key("frame-extractor", "task-20260504100000-abc123"),
    "webrtc-gateway.give-way": subjects.command("webrtc-gateway", "give-way", "edge1"),
    "events": subjects.event("hw-encode", "cam0--main", "state"),
    "audit": subjects.audit("capture", "start"),
    "desired.capture": "$KV.mesh_desired." + subjects.state_key("capture", "cam0"),
    "desired.hw-encode": "$KV.mesh_desired." + subjects.state_key("hw-encode", "cam0--main"),
    "desired.publisher": "$KV.mesh_desired." + subjects.state_key("publisher", "cam0--archive"),
    "actual.capture": "$KV.mesh_actual." + subjects.state_key("capture", "cam0"),
    "actual.hw-encode": "$KV.mesh_actual." + subjects.state_key("hw-encode", "cam0--main"),
    "actual.publisher": "$KV.mesh_actual." + subjects.state_key("publisher", "cam0--archive"),
    "demand": "$KV.mesh_demand." + subjects.demand_key("edge1", "cam0", subjects.RAW, "hw-encode-main"),
    "schema": "$KV.mesh_schema.capture",
    "claims": "$KV.mesh_claims." + subjects.claim_key("cam0"),
    "presence": "$KV.mesh_presence." + subjects.presence_key("publisher", "edge1"),
    "secrets.capture": "$KV.mesh_secrets." + subjects.state_key("capture", "cam0"),
    "secrets.publisher": "$KV.mesh_secrets." + subjects.state_key("publisher", "cam0--archive"),
}


def by_name(channel: Channel) -> str:
    return channel.name


def type_name(kind: type[Struct]) -> str:
    return kind.__name__


def sample(kind: Any) -> Any:
    """A value of a type, every field filled with something else than its default where there is a choice."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        kind, pattern = arguments[0], [meta.pattern for meta in arguments[1:] if getattr(meta, "pattern", None)]
        least = [meta.ge for meta in arguments[1:] if getattr(meta, "ge", None) is not None]
        if not pattern:
            return max(sample(kind), *least) if least and kind is int else sample(kind)
        values = ("cam0", "20260504", "task-20260504100000-abc123", "#1e90ff")
        return next(value for value in values if re.search(pattern[0], value))
    if kind is Any:
        return {"any": ["JSON"]}
    if origin is Literal:
        return arguments[-1]
    if origin in (Union, UnionType):
        return sample(next(argument for argument in arguments if argument is not NoneType))
    if origin is tuple:
        return (sample(arguments[0]),)
    if origin is dict:
        return {"key": ["value", 1] if arguments[1] is Any else sample(arguments[1])}
    if isinstance(kind, type) and issubclass(kind, Struct):
        return kind(**{field.name: sample(field.type) for field in msgspec.structs.fields(kind)})
    return {str: "text with ümläut", bytes: b"\x00\xff", int: 7, float: 0.5, bool: True}[kind]


# -- the table ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channel", [c for c in CHANNELS if not c.name.startswith("epoch")], ids=by_name)
def test_a_channel_is_what_its_builder_makes(channel: Channel) -> None:
    matching = [other.name for other in CHANNELS if other.matches(BUILT[channel.name])]
    assert matching == [channel.name]


def test_every_channel_and_bucket_has_its_place() -> None:
    names = [channel.name for channel in CHANNELS]
    assert Counter(names).most_common(1)[0][1] == 1
    assert set(names) == set(BUILT) | {"epoch.capture", "epoch.hw-encode"}
    buckets = {value for name, value in vars(subjects).items() if name.endswith("_BUCKET")}
    assert {channel.bucket for channel in CHANNELS} == {*buckets, ""}


def test_parameters_are_explained_and_become_wildcards() -> None:
    for channel in CHANNELS:
        assert set(channel.parameters) <= set(PARAMETERS)
        assert "{" not in channel.pattern()
        assert channel.pattern().count("*") == sum("{" in token for token in channel.address.split("."))
        for sender, bound in channel.bound.items():
            assert sender in channel.senders
            assert set(bound) <= set(channel.parameters)


def test_a_bound_sender_speaks_for_itself_only() -> None:
    events = next(channel for channel in CHANNELS if channel.name == "events")
    assert events.pattern("capture") == "mesh.v1.evt.capture.*.*"
    assert events.pattern("client") == "mesh.v1.evt.app.*.*", "an application is no service"
    assert events.pattern() == "mesh.v1.evt.*.*.*"


# -- the messages ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TYPES, ids=type_name)
def test_a_message_survives_the_way(kind: type[Struct]) -> None:
    message = sample(kind)
    assert msgspec.json.decode(msgspec.json.encode(message), type=kind) == message
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=kind) == message


@pytest.mark.parametrize("kind", TYPES, ids=type_name)
def test_a_message_is_what_its_schema_says(kind: type[Struct]) -> None:
    schema = json.loads((generate.OPS / "json-schema" / f"{kind.__name__}.json").read_text())
    given = json.loads(msgspec.json.encode(sample(kind)))
    assert set(given) <= set(schema["properties"])
    assert set(schema.get("required", ())) <= set(given)
    for name in set(schema.get("required", ())):
        with pytest.raises(msgspec.ValidationError, match=name):
            msgspec.convert({key: value for key, value in given.items() if key != name}, kind)


REQUESTS = {channel.payload for channel in CHANNELS if channel.semantics == "request-reply" and channel.payload}
SPECS = {StreamSpec, RenditionSpec, OutputSpec, SampleSpec, MixSpec, SignalSpec, InputSpec, RuleSpec}


@pytest.mark.parametrize("kind", TYPES, ids=type_name)
def test_requests_refuse_unknown_fields_and_everything_else_ignores_them(kind: type[Struct]) -> None:
    message = sample(kind)
    fields = {**json.loads(msgspec.json.encode(message)), "of_a_newer_version": 1}
    if kind in REQUESTS | SPECS:
        with pytest.raises(msgspec.ValidationError, match="of_a_newer_version"):
            msgspec.json.decode(json.dumps(fields), type=kind)
    else:
        assert msgspec.json.decode(json.dumps(fields), type=kind) == message


# -- the generated files -----------------------------------------------------------------------------------------


def test_generated_files_are_fresh() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ops.generate", "--check"], cwd=REPOSITORY, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_stale_is_named(tmp_path: Path) -> None:
    same, changed, missing = tmp_path / "same", tmp_path / "changed", tmp_path / "missing"
    same.write_text("text")
    changed.write_text("old text")
    fresh = generate.generated()
    wrong = generate.stale({**fresh, same: "text", changed: "text", missing: "text"})
    assert set(wrong) == {changed, missing}
    leftover = generate.OPS / "json-schema" / "FrameRef.json"
    assert generate.stale({path: text for path, text in fresh.items() if path != leftover}) == [leftover]


def test_every_block_of_the_contract_has_its_table() -> None:
    text = generate.CONTRACT.read_text()
    names = re.findall(r"<!-- generated:([a-z-]+) -->", text)
    assert sorted(names) == sorted(tables._TABLES)
    assert len(names) == text.count("<!-- /generated -->")
    emptied = re.sub(r"(<!-- generated:[a-z-]+ -->\n).*?(<!-- /generated -->)", r"\1\2", text, flags=re.DOTALL)
    assert tables.refresh(emptied) == text


def _resolve(document: Any, reference: str) -> Any:
    assert reference.startswith("#/")
    for part in reference[2:].split("/"):
        document = document[part.replace("~1", "/").replace("~0", "~")]
    return document


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for value in node.values() for found in _references(value)]
    return [found for value in node for found in _references(value)] if isinstance(node, list) else []


@pytest.fixture(scope="module")
def document() -> Any:
    return yaml.safe_load((generate.OPS / "asyncapi.yaml").read_text())


def test_every_reference_resolves(document: Any) -> None:
    references = _references(document)
    assert len(references) > len(CHANNELS)
    for reference in references:
        assert isinstance(_resolve(document, reference), dict), reference


def test_the_document_is_asyncapi_3(document: Any) -> None:
    """What the specification requires of the objects that are used here (AsyncAPI 3.0.0, "Schema")."""
    roots = {"asyncapi", "info", "defaultContentType", "servers", "channels", "operations", "components"}
    assert set(document) == roots
    assert document["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= set(document["info"])
    assert all({"host", "protocol"} <= set(server) for server in document["servers"].values())
    for name in [*document["channels"], *document["operations"], *document["components"]["messages"]]:
        assert re.fullmatch(r"[\w.-]+", name), name
    allowed = {"address", "description", "messages", "parameters"}
    for name, channel in document["channels"].items():
        assert {key for key in channel if not key.startswith("x-")} <= allowed, name
        assert channel["messages"], name
        in_address = set(re.findall(r"\{([^}]+)\}", channel["address"] or ""))
        assert in_address == set(channel.get("parameters", ())), name
    addresses = [channel["address"] for channel in document["channels"].values() if channel["address"]]
    assert len(addresses) == len(set(addresses)) == len(CHANNELS)


def test_operations_fit_their_channels(document: Any) -> None:
    used = set()
    for name, operation in document["operations"].items():
        assert operation["action"] in ("send", "receive"), name
        for side in (operation, operation.get("reply")):
            if side is None:
                continue
            channel = side["channel"]["$ref"]
            used.add(channel.removeprefix("#/channels/"))
            _resolve(document, channel)
            # Messages are those of the channel, not of the components (3.0.0, Operation Object).
            assert all(message["$ref"].startswith(f"{channel}/messages/") for message in side["messages"]), name
    assert used == set(document["channels"]) - {c.name for c in CHANNELS if not c.senders and not c.receivers}


def test_every_message_type_is_in_the_document(document: Any) -> None:
    schemas = document["components"]["schemas"]
    assert {kind.__name__ for kind in message_types()} <= set(schemas)
    assert set(document["components"]["messages"]) >= {kind.__name__ for kind in message_types()}
    assert {message["contentType"] for message in document["components"]["messages"].values()} <= set(
        asyncapi.CONTENT_TYPES.values()
    )


# -- the permissions ---------------------------------------------------------------------------------------------


def test_secrets_are_their_owners() -> None:
    for party, grant in grants().items():
        secret = {subject for subject in grant.publish | grant.subscribe if "mesh_secrets" in subject}
        readable = {subject for subject in secret if "GET" in subject or "CONSUMER" in subject}
        wanted = {f"$JS.API.CONSUMER.CREATE.KV_mesh_secrets.*.$KV.mesh_secrets.{party}.*"}
        if party == "backup":  # whoever may take all of the mesh home, and nobody else
            assert "$JS.API.CONSUMER.CREATE.KV_mesh_secrets" in readable
            continue
        assert readable == (wanted if party in OWN_SECRETS else set()), party


def test_nobody_gets_everything() -> None:
    for party, grant in grants().items():
        for subject in grant.publish | grant.subscribe:
            assert subject.split(".")[0] not in ("*", ">"), party
            if subject == "$SYS.REQ.USER.INFO":  # about themselves
                continue
            assert not subject.startswith(("$JS.API.>", "$KV.>", "$JS.>", "$SYS")), party
            assert not re.match(r"mesh\.v1\.(cmd\.)?>", subject), party
        assert any(subject.startswith("$JS.API.STREAM.CREATE.") for subject in grant.publish) == (party == "setup")
        assert grant.answers == (party in (*RUNNING_SERVICES, "fleet"))
