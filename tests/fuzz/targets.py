"""Every way in, in one table. To add one: write what it does with any bytes, name some it takes; add a row.

    Target("what it is", run, seeds, may_raise=(WhatItDocuments,), mutate=mutate_json)

`run(data: bytes)` calls the product's own entry point and asserts what must hold of what was taken; `seeds()` are
inputs that are taken. Both forms of the tests find it here: the short one that CI runs, and `make fuzz`.
"""

from typing import Final

import msgspec

from schemas.errors import BadRequest, MeshError, NotFound
from services.cloud_mix_proxy.edge.refusal import Refusal
from services.frame_extractor.engine.errors import VideoError
from services.frame_extractor.las.failures import Refused
from services.publisher.rtsp.messages import RtspError
from services.webrtc_gateway.sora.deflate import NotDeflated
from shared.ring import BadRing
from shared.tokens import TokenRefused
from tests.fuzz import (
    api_entries,
    command_entries,
    device_entries,
    file_entries,
    media_entries,
    packet_entries,
    ring_entries,
    sctp_entries,
    session_entries,
    text_entries,
)
from tests.fuzz.mutators import in_parts, keep, mutate_json, mutate_text
from tests.fuzz.seeds import (
    access_units,
    deflated,
    device_line_pieces,
    gvcp_answers,
    payloads,
    references,
    rtcp_packets,
    rtp_packets,
)
from tests.fuzz.target import Target

_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # as `schemas.packets.UNREADABLE`
_DECODES_SECONDS: Final = 3.0
"""Of CPU for pictures: libav's threads count, too."""

TARGETS: Final = (
    # Commands and the bus
    Target("commands", command_entries.command, command_entries.commands, mutate=in_parts(keep, mutate_json), share=4),
    Target("mesh packet", packet_entries.mesh_packet, packet_entries.packet_seeds),
    Target("frame reference", packet_entries.frame_reference, references, _UNREADABLE, mutate_json),
    Target("rule event", text_entries.rule_event, text_entries.rule_events, (BadRequest,), in_parts(keep, mutate_json)),
    Target("audited request", text_entries.kept_request, api_entries.las_bodies, (), mutate_json),
    # WebRTC
    Target("SDP offer", session_entries.sdp_offer, session_entries.sdp_offers, (BadRequest,), mutate_text, share=2),
    Target("Sora message", session_entries.sora_message, session_entries.sora_messages, (), mutate_json),
    Target("RTP", packet_entries.rtp, rtp_packets),
    Target("RTCP", packet_entries.rtcp, rtcp_packets),
    Target("STUN", packet_entries.stun_binding, lambda: [packet_entries.stun_request()]),
    Target("SCTP", sctp_entries.sctp, sctp_entries.sctp_packets, share=2),
    Target("compressed message", packet_entries.inflated, deflated, (NotDeflated,)),
    Target("ICE links", session_entries.ice_links, lambda: [_LINKS], (), mutate_text),
    # Media on its way
    Target("RTP payloads", packet_entries.depacketize, payloads, (BadRequest,)),
    Target("access unit for RTP", packet_entries.packetize, access_units, (BadRequest,)),
    Target("access unit", packet_entries.access_unit, access_units),
    # HTTP, RTSP
    Target("RTSP request", session_entries.rtsp_request, session_entries.rtsp_requests, (RtspError,), mutate_text),
    Target("LAS body", api_entries.las_body, api_entries.las_bodies, (Refused,), mutate_json),
    Target("CloudMix body", api_entries.mix_body, api_entries.mix_bodies, (Refusal,), mutate_json),
    Target("CloudMix signature", api_entries.mix_signature, api_entries.signed_requests, (Refusal,), mutate_text),
    Target("401 challenge", session_entries.challenge, lambda: _CHALLENGES, (MeshError,), mutate_text),
    Target("token", api_entries.token, api_entries.token_seeds, (), mutate_text),
    Target(
        "token claims",
        api_entries.signed_claims,
        api_entries.claims_seeds,
        (TokenRefused, ValueError, RecursionError),
        mutate_json,
    ),
    Target("token key file", api_entries.token_key, api_entries.token_keys, (BadRequest,), mutate_text),
    Target("credentials file", api_entries.credentials, api_entries.credential_seeds, (BadRequest,), mutate_text),
    # Addresses and words
    Target("URL that is shown", text_entries.shown_url, lambda: _URLS, (), mutate_text),
    Target("URL at the gate", text_entries.guarded_url, lambda: _URLS, (MeshError,), mutate_text),
    Target("units", text_entries.units, lambda: _UNITS, (), mutate_text),
    Target("file names", text_entries.names_of_files, lambda: _TEMPLATES, (), mutate_text),
    Target("device address", device_entries.device_address, lambda: _DEVICES, (), mutate_text),
    # Devices
    Target("camera document", device_entries.camera_document, device_entries.camera_documents, (), mutate_text),
    Target("GigE Vision answer", device_entries.gvcp_answer, gvcp_answers),
    Target("Modbus answer", device_entries.modbus_answer, device_entries.modbus_answers),
    Target("device line", device_entries.device_lines, device_line_pieces),
    # Files
    Target("mesh.yaml", file_entries.mesh_file, file_entries.mesh_files, (BadRequest, NotFound), mutate_text, share=2),
    Target("profile", file_entries.profile, file_entries.profiles, (BadRequest,), mutate_json),
    Target("backup", file_entries.backup, file_entries.backups, (), mutate_text),
    Target("playlist", text_entries.playlist, text_entries.playlists, (ValueError,), mutate_text),
    Target("frame ring", ring_entries.frame_ring, ring_entries.frame_rings),
    Target("ring in C", ring_entries.ring_in_c, ring_entries.frame_rings),
    Target("packet ring", ring_entries.packet_ring, ring_entries.packet_rings, (BadRing,)),
    Target("recording", media_entries.recording, media_entries.recordings),
    Target("recording index", media_entries.recording_index, media_entries.indexes),
    Target("video", media_entries.video, media_entries.videos, (VideoError,), cpu_seconds=_DECODES_SECONDS, share=3),
    Target("picture file", media_entries.picture, media_entries.pictures, (BadRequest,), cpu_seconds=_DECODES_SECONDS),
    Target("still of a mix", media_entries.still, media_entries.pictures, (BadRequest,), cpu_seconds=_DECODES_SECONDS),
)
assert len({target.name for target in TARGETS}) == len(TARGETS)

_LINKS: Final = (
    b'<stun:stun.example.net>; rel="ice-server"\n'
    b'<turn:turn.example.net?transport=udp>; rel="ice-server"; username="user"; credential="pass"; '
    b'credential-type="password"'
)
_CHALLENGES: Final = (
    b'Basic realm="r"\nDigest realm="r", nonce="n", qop="auth", algorithm=SHA-256',
    b'Digest realm="r", nonce="n", opaque="o", stale=false, qop="auth,auth-int", algorithm=MD5-sess',
)
_URLS: Final = (
    b"rtsp://user:pa%20ss@camera.local:554/stream1?token=abc&x=1#f",
    b"rtmp://host/app/key?auth=1",
    b"http://[::1]:80/a/user=u_password=p&key=x",
    b"nats://token@host:4222",
    b"srt://host:9000?mode=listener&streamid=#!::r=x,m=publish",
    b"file:///docs/../etc/passwd",
    b"v4l2:///dev/video0?x=1",
    b"images:///docs/a-*.png?fps=5",
    b"udp://@239.0.0.1:5000",
)
_UNITS: Final = (
    b"200ms",
    b"1.5h",
    b"4M",
    b"1920x1080",
    b"64x48+10+20",
    b"2x2",
    b"2026-05-04T10:00:00.5Z",
    b"10GB",
    b"-5s",
)
_TEMPLATES: Final = (
    b"file://recordings/{stream}/{start:%Y%m%d-%H%M%S}.mp4",
    b"tos://bucket/f_{index:04d}.{autoext}",
    b"file://x-{output}-{start:%s}.ts",
)
_DEVICES: Final = (
    b"file:///tmp/do1",
    b"gpio://gpiochip0/3?bias=pull-up",
    b"tcp://plc:5000?on=1&off=0",
    b"tcp://plc:502/1/coil/3",
    b"rtu:///dev/ttyUSB0?baud=9600&parity=even/1/register/40",
    b"uart:///dev/ttyUSB0?baud=115200&bits=8&stop=1",
    b"tcp://plc/1/input-register/3?type=int32&words=low-first",
)
