"""An ONVIF camera without optics: SOAP over HTTP with real login checks, PTZ, events and discovery. Loopback only."""

import base64
import hashlib
import queue
import re
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.etree import ElementTree
from xml.sax.saxutils import escape

USER, PASSWORD = "admin", "pa55-of-onvif:w@rd-ü"
USERINFO = "admin:pa55-of-onvif%3Aw%40rd-%C3%BC"
_CLOCK_TOLERANCE = timedelta(seconds=60)  # what cameras allow; a clock that is off by more is not forgiven
_REALM = "onvif"
_GROUP, _PORT = "239.255.255.250", 3702
_SOAP = "http://www.w3.org/2003/05/soap-envelope"
_NAMES = (
    f'xmlns:s="{_SOAP}" xmlns:tds="http://www.onvif.org/ver10/device/wsdl"'
    ' xmlns:trt="http://www.onvif.org/ver10/media/wsdl" xmlns:tptz="http://www.onvif.org/ver20/ptz/wsdl"'
    ' xmlns:tev="http://www.onvif.org/ver10/events/wsdl" xmlns:tt="http://www.onvif.org/ver10/schema"'
    ' xmlns:wsnt="http://docs.oasis-open.org/wsn/b-2" xmlns:wsa="http://www.w3.org/2005/08/addressing"'
    ' xmlns:ter="http://www.onvif.org/ver10/error" xmlns:tns1="http://www.onvif.org/ver10/topics"'
)
Event = tuple[str, dict[str, str], dict[str, str]]
"""(topic, source items, data items)"""


@dataclass
class Camera:
    """What the camera is like, and what was done to it. Change it at any time."""

    stream_uri: str = ""
    login: str = "token"
    """`token` (WS-Security), `digest` (HTTP, MD5), `digest-sha256` (HTTP, both), `basic` (HTTP), or nothing."""
    clock_offset: timedelta = timedelta()
    ptz: bool = True
    events: bool = True
    event_port: bool = False
    """Subscriptions are at another port of the camera, as with some makes."""
    answers: dict[str, bytes] = field(default_factory=dict)
    """By action: what is sent instead of an answer, as it is."""
    drip_seconds: float = 0.0
    """Between any two bytes of an answer."""
    think_seconds: float = 0.0
    """How long the camera thinks before it answers, login or not."""
    profiles: tuple[tuple[str, str], ...] = (("tok_main", "Main stream"), ("tok_sub", "sub"))
    presets: tuple[tuple[str, str], ...] = (("1", "door"), ("2", "gate"))
    calls: list[str] = field(default_factory=list)
    moves: list[tuple[float, str, str]] = field(default_factory=list)
    """(monotonic seconds, action, arguments)"""
    refused: int = 0
    subscriptions: int = 0
    unsubscribed: int = 0
    renewed: list[str] = field(default_factory=list)
    """How long for, as it was asked."""
    own_headers: list[str] = field(default_factory=list)
    """What came back of the headers that a subscription is known by."""
    happened: "queue.Queue[Event]" = field(default_factory=queue.Queue)

    @property
    def moving(self) -> bool:
        """A move ends at a stop, and by the camera's own clock after the `Timeout` that came with it."""
        if not self.moves or self.moves[-1][1] != "ContinuousMove":
            return False
        began, _, said = self.moves[-1]
        timeout = re.search(r"Timeout PT(\d+)S", said)
        return timeout is None or time.monotonic() < began + int(timeout[1])


class OnvifDevice(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, camera: Camera) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.camera = camera
        self.other_port = 0
        self.nonces: set[str] = set()
        self.stop = threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def url(self, profile: str = "", userinfo: str = USERINFO, host: str = "127.0.0.1") -> str:
        return f"onvif://{userinfo}{'@' if userinfo else ''}{host}:{self.port}/{profile}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: OnvifDevice

    def do_POST(self) -> None:
        camera = self.server.camera
        root = ElementTree.fromstring(self.rfile.read(int(self.headers["Content-Length"])))  # noqa: S314 - from our own client
        body = root.find(f"{{{_SOAP}}}Body")
        assert body is not None
        request = body[0]
        action = request.tag.rpartition("}")[2]
        camera.calls.append(action)
        if self.server.stop.wait(camera.think_seconds):
            return
        self.headers_of_maker = "".join(element.text or "" for element in root.iter("{urn:maker}Id"))
        if action != "GetSystemDateAndTime" and not self._known(root):
            camera.refused += 1
            self._refuse()
        elif action in camera.answers:
            self._send(200, camera.answers[action])
        else:
            answer = getattr(self, f"_{action}", None)
            if answer is None:
                self._fault("ter:ActionNotSupported", f"{action} is not supported")
            elif (text := answer(request)) is not None:
                self._send(200, _envelope(text))

    # -- login -----------------------------------------------------------------------------------------------

    def _known(self, root: ElementTree.Element) -> bool:
        login = self.server.camera.login
        if not login:
            return True
        return self._token_fits(root) if login == "token" else self._digest_fits()

    def _token_fits(self, root: ElementTree.Element) -> bool:
        said = {element.tag.rpartition("}")[2]: element.text or "" for element in root.iter()}
        if not {"Username", "Password", "Nonce", "Created"} <= said.keys() or said["Nonce"] in self.server.nonces:
            return False
        self.server.nonces.add(said["Nonce"])
        created = datetime.strptime(said["Created"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
        if abs(created - self._now()) > _CLOCK_TOLERANCE:
            return False
        wanted = hashlib.sha1(base64.b64decode(said["Nonce"]) + said["Created"].encode() + PASSWORD.encode())  # noqa: S324 - WS-Security wants it
        return said["Username"] == USER and base64.b64decode(said["Password"]) == wanted.digest()

    def _digest_fits(self) -> bool:
        kind, _, rest = self.headers.get("Authorization", "").partition(" ")
        given = dict(re.findall(r'(\w+)="?([^",]*)"?', rest))
        if kind != "Digest" or given.get("nonce") not in self.server.nonces:
            return False
        self.server.nonces.discard(given["nonce"])  # each holds once
        algorithm = given["algorithm"]
        if (algorithm == "SHA-256") != (self.server.camera.login == "digest-sha256"):
            return False  # the stronger of what is offered
        secret = _hash(algorithm, f"{USER}:{_REALM}:{PASSWORD}")
        request = _hash(algorithm, f"POST:{self.path}")
        wanted = _hash(algorithm, ":".join((secret, given["nonce"], given["nc"], given["cnonce"], "auth", request)))
        return given["response"] == wanted and given["uri"] == self.path and given["username"] == USER

    def _refuse(self) -> None:
        login = self.server.camera.login
        if login == "token":
            self._fault("ter:NotAuthorized", f"Sender not authorized, password {PASSWORD} expected", status=400)
            return
        nonce = secrets.token_hex(8)
        self.server.nonces.add(nonce)
        digest = f'Digest realm="{_REALM}", nonce="{nonce}", qop="auth-int, auth"'
        challenges = {
            "digest": [digest],
            "digest-sha256": [f"{digest}, algorithm=SHA-256", f"{digest}, algorithm=MD5", "Basic realm=x"],
            "basic": ["Basic realm=x"],
        }
        self._send(401, b"", challenges[login])

    # -- device and media ------------------------------------------------------------------------------------

    def _now(self) -> datetime:
        return datetime.now(UTC) + self.server.camera.clock_offset

    def _GetSystemDateAndTime(self, request: ElementTree.Element) -> str:
        now = self._now()
        return (
            "<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime><tt:DateTimeType>NTP</tt:DateTimeType>"
            f"<tt:UTCDateTime><tt:Time><tt:Hour>{now.hour}</tt:Hour><tt:Minute>{now.minute}</tt:Minute>"
            f"<tt:Second>{now.second}</tt:Second></tt:Time><tt:Date><tt:Year>{now.year}</tt:Year>"
            f"<tt:Month>{now.month}</tt:Month><tt:Day>{now.day}</tt:Day></tt:Date></tt:UTCDateTime>"
            "</tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>"
        )

    def _GetCapabilities(self, request: ElementTree.Element) -> str:
        # As a camera behind a router says it: with an address that only itself can reach.
        camera, host = self.server.camera, "http://10.99.99.99"
        events = f"<tt:Events><tt:XAddr>{host}/onvif/events</tt:XAddr></tt:Events>" if camera.events else ""
        ptz = f"<tt:PTZ><tt:XAddr>{host}/onvif/ptz</tt:XAddr></tt:PTZ>" if camera.ptz else ""
        return (
            "<tds:GetCapabilitiesResponse><tds:Capabilities>"
            f"<tt:Device><tt:XAddr>{host}/onvif/device_service</tt:XAddr></tt:Device>{events}"
            f"<tt:Media><tt:XAddr>{host}/onvif/media</tt:XAddr></tt:Media>{ptz}"
            "</tds:Capabilities></tds:GetCapabilitiesResponse>"
        )

    def _GetProfiles(self, request: ElementTree.Element) -> str:
        ptz = '<tt:PTZConfiguration token="p"><tt:Name>ptz</tt:Name></tt:PTZConfiguration>'
        profiles = "".join(
            f'<trt:Profiles token="{escape(token)}" fixed="true"><tt:Name>{escape(name)}</tt:Name>'
            '<tt:VideoEncoderConfiguration token="v"><tt:Name>h264</tt:Name></tt:VideoEncoderConfiguration>'
            f"{ptz if self.server.camera.ptz else ''}</trt:Profiles>"
            for token, name in self.server.camera.profiles
        )
        sound = '<trt:Profiles token="tok_sound"><tt:Name>sound only</tt:Name></trt:Profiles>'
        return f"<trt:GetProfilesResponse>{sound}{profiles}</trt:GetProfilesResponse>"

    def _GetStreamUri(self, request: ElementTree.Element) -> str:
        uri = self.server.camera.stream_uri.format(token=_said(request, "ProfileToken"))
        return (
            f"<trt:GetStreamUriResponse><trt:MediaUri><tt:Uri>{escape(uri)}</tt:Uri>"
            "<tt:Timeout>PT0S</tt:Timeout></trt:MediaUri></trt:GetStreamUriResponse>"
        )

    # -- PTZ -------------------------------------------------------------------------------------------------

    def _moved(self, request: ElementTree.Element) -> str:
        action = request.tag.rpartition("}")[2]
        said = [f"{element.tag.rpartition('}')[2]} {element.attrib or element.text}" for element in request.iter()][2:]
        self.server.camera.moves.append((time.monotonic(), action, "; ".join(said)))
        return f"<tptz:{action}Response/>"

    _ContinuousMove = _AbsoluteMove = _Stop = _GotoPreset = _GotoHomePosition = _moved

    def _GetStatus(self, request: ElementTree.Element) -> str:
        state = "MOVING" if self.server.camera.moving else "IDLE"
        return (
            '<tptz:GetStatusResponse><tptz:PTZStatus><tt:Position><tt:PanTilt x="0.25" y="-0.5"/><tt:Zoom x="NaN"/>'
            f"</tt:Position><tt:MoveStatus><tt:PanTilt>{state}</tt:PanTilt><tt:Zoom>IDLE</tt:Zoom></tt:MoveStatus>"
            "<tt:UtcTime>2024-01-01T00:00:00Z</tt:UtcTime></tptz:PTZStatus></tptz:GetStatusResponse>"
        )

    def _GetPresets(self, request: ElementTree.Element) -> str:
        presets = "".join(
            f'<tptz:Preset token="{escape(token)}"><tt:Name>{escape(name)}</tt:Name></tptz:Preset>'
            for token, name in self.server.camera.presets
        )
        return f"<tptz:GetPresetsResponse>{presets}</tptz:GetPresetsResponse>"

    # -- events ----------------------------------------------------------------------------------------------

    def _CreatePullPointSubscription(self, request: ElementTree.Element) -> str:
        camera = self.server.camera
        camera.subscriptions += 1
        port = self.server.other_port or self.server.port
        return (
            "<tev:CreatePullPointSubscriptionResponse><tev:SubscriptionReference>"
            f"<wsa:Address>http://127.0.0.1:{port}/onvif/subscription?id={camera.subscriptions}</wsa:Address>"
            '<wsa:ReferenceParameters><x:Id xmlns:x="urn:maker">7</x:Id></wsa:ReferenceParameters>'
            "</tev:SubscriptionReference></tev:CreatePullPointSubscriptionResponse>"
        )

    def _PullMessages(self, request: ElementTree.Element) -> str | None:
        camera = self.server.camera
        number = int(self.path.rpartition("=")[2] or 0)
        camera.own_headers.append(self.headers_of_maker)
        messages = ""
        ends = time.monotonic() + float(_said(request, "Timeout")[2:-1])
        while not messages and time.monotonic() < ends and not self.server.stop.is_set():
            if number != camera.subscriptions:
                self._fault("ter:InvalidArgVal", "no such subscription")
                return None
            with suppress(queue.Empty):
                messages = _message(*camera.happened.get(timeout=0.05))
                while True:
                    messages += _message(*camera.happened.get_nowait())
        return f"<tev:PullMessagesResponse>{messages}</tev:PullMessagesResponse>"

    def _Renew(self, request: ElementTree.Element) -> str:
        self.server.camera.renewed.append(_said(request, "TerminationTime"))
        return "<wsnt:RenewResponse/>"

    def _Unsubscribe(self, request: ElementTree.Element) -> str:
        self.server.camera.unsubscribed += 1
        return "<wsnt:UnsubscribeResponse/>"

    # -- sending ---------------------------------------------------------------------------------------------

    def _fault(self, code: str, reason: str, status: int = 500) -> None:
        fault = (
            f"<s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value>{code}</s:Value></s:Subcode></s:Code>"
            f'<s:Reason><s:Text xml:lang="en">{escape(reason)}</s:Text></s:Reason></s:Fault>'
        )
        self._send(status, _envelope(fault))

    def _send(self, status: int, body: bytes, challenges: Iterable[str] = ()) -> None:
        self.send_response(status)
        for challenge in challenges:
            self.send_header("WWW-Authenticate", challenge)
        self.send_header("Content-Type", "application/soap+xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not self.server.camera.drip_seconds:
            with suppress(OSError):
                self.wfile.write(body)
            return
        with suppress(OSError):
            for byte in body:
                self.wfile.write(bytes((byte,)))
                if self.server.stop.wait(self.server.camera.drip_seconds):
                    return

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


def _message(topic: str, source: dict[str, str], data: dict[str, str]) -> str:
    def items(of: dict[str, str]) -> str:
        return "".join(f'<tt:SimpleItem Name="{escape(name)}" Value="{escape(of[name])}"/>' for name in of)

    return (
        '<wsnt:NotificationMessage><wsnt:Topic Dialect="x">'
        f"{escape(topic)}</wsnt:Topic><wsnt:Message>"
        '<tt:Message UtcTime="2024-05-06T07:08:09Z" PropertyOperation="Changed">'
        f"<tt:Source>{items(source)}</tt:Source><tt:Data>{items(data)}</tt:Data></tt:Message></wsnt:Message>"
        "</wsnt:NotificationMessage>"
    )


def _envelope(body: str) -> bytes:
    return f'<?xml version="1.0"?><s:Envelope {_NAMES}><s:Body>{body}</s:Body></s:Envelope>'.encode()


def _said(request: ElementTree.Element, name: str) -> str:
    return next((element.text or "" for element in request.iter() if element.tag.endswith("}" + name)), "")


def _hash(algorithm: str, text: str) -> str:
    return hashlib.new(algorithm.replace("-", ""), text.encode(), usedforsecurity=False).hexdigest()


@contextmanager
def onvif_device(camera: Camera) -> Iterator[OnvifDevice]:
    device = OnvifDevice(camera)
    servers = [device]
    if camera.event_port:
        second = OnvifDevice(camera)
        second.nonces, device.other_port = device.nonces, second.port
        servers.append(second)
    threads = [
        threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True) for one in servers
    ]
    for thread in threads:
        thread.start()
    try:
        yield device
    finally:
        for one, thread in zip(servers, threads, strict=True):
            one.stop.set()
            one.shutdown()
            one.server_close()
            thread.join(5)


@contextmanager
def discoverable(answer: Callable[[str], bytes], interface: str = "lo") -> Iterator[list[bytes]]:
    """Answers WS-Discovery probes on one interface with `answer(message id)`; gives the probes heard."""
    heard: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((_GROUP, _PORT))
        member = struct.pack("=4s4si", socket.inet_aton(_GROUP), bytes(4), socket.if_nametoindex(interface))
        listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        listener.settimeout(0.05)
        stop = threading.Event()

        def respond() -> None:
            while not stop.is_set():
                with suppress(TimeoutError):
                    probe, asker = listener.recvfrom(65_535)
                    heard.append(probe)
                    if found := re.search(rb"MessageID>([^<]+)<", probe):
                        listener.sendto(answer(found[1].decode()), asker)

        thread = threading.Thread(target=respond, daemon=True)
        thread.start()
        try:
            yield heard
        finally:
            stop.set()
            thread.join(2)


def probe_match(
    message_id: str, endpoint: str, port: int, scopes: str = "", types: str = "dn:NetworkVideoTransmitter"
) -> bytes:
    return (
        f'<?xml version="1.0"?><e:Envelope xmlns:e="{_SOAP}" xmlns:w="http://schemas.xmlsoap.org/ws/2004/08/addressing"'
        ' xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery" xmlns:dn="http://www.onvif.org/ver10/network/wsdl">'
        f"<e:Header><w:RelatesTo>{message_id}</w:RelatesTo></e:Header><e:Body><d:ProbeMatches><d:ProbeMatch>"
        f"<w:EndpointReference><w:Address>{endpoint}</w:Address></w:EndpointReference><d:Types>{types}</d:Types>"
        f"<d:Scopes>{scopes}</d:Scopes><d:XAddrs>http://10.99.99.99:{port}/onvif/device_service</d:XAddrs>"
        "<d:MetadataVersion>1</d:MetadataVersion></d:ProbeMatch></d:ProbeMatches></e:Body></e:Envelope>"
    ).encode()
