"""Ways in for devices: their addresses, the documents of cameras, the answers of PLCs and lines."""

import asyncio
import contextlib
import functools
from collections.abc import Callable

from pymodbus.pdu.register_message import ReadHoldingRegistersRequest

from schemas.errors import BadRequest, Unavailable
from services.capture.genicam import gvcp
from services.capture.genicam.description import check_description, check_places
from services.capture.onvif import soap, xml
from services.capture.onvif.discovery import read_probe_match
from services.capture.onvif.events import notification
from services.io_signal.hand.drivers.base import DeviceError, Limits
from services.io_signal.hand.drivers.lines import LONGEST_LINE_BYTES, LineSplitter
from services.io_signal.hand.drivers.modbus_link import ModbusLink
from services.io_signal.signals.addresses import ModbusAddress, input_address, output_address
from tests.fuzz.inputs import SECRET, each, event_loop, joined, pieces, text_of
from tests.fuzz.packet_entries import MAX_RTP_BYTES


def device_address(data: bytes) -> None:
    """Where an output or an input is."""
    text = text_of(data)
    steps: list[Callable[[], object]] = []
    for mode in ("io", "gpio", "tcp", "modbus", "uart"):
        steps.append(functools.partial(output_address, mode, text))
        if mode != "io":
            steps.append(functools.partial(input_address, mode, text))
    each(steps, (BadRequest,))


def camera_document(data: bytes) -> None:
    """XML of ONVIF cameras and of GenICam's: read within bounds, or refused."""
    list(read_probe_match(data, "192.0.2.1", "id"))
    steps: list[Callable[[], object]] = [
        lambda: soap.answer(data, "the camera", f"onvif://u:{SECRET}@192.0.2.1/"),
        lambda: [notification(one) for one in xml.each(xml.parse(data), "NotificationMessage")],
        lambda: check_description("the camera", data),
        lambda: check_places("the camera", text_of(data), text_of(data)),
    ]
    each(steps, (Unavailable,))


def camera_documents() -> list[bytes]:
    probe = (
        "<e:Envelope xmlns:e='http://www.w3.org/2003/05/soap-envelope'><e:Header><RelatesTo>uuid:id</RelatesTo></e:Header>"
        "<e:Body><ProbeMatches><ProbeMatch><EndpointReference><Address>urn:uuid:1</Address></EndpointReference>"
        "<Types>dn:NetworkVideoTransmitter</Types><Scopes>onvif://www.onvif.org/hardware/DS-2 onvif://www.onvif.org/name/x"
        "</Scopes><XAddrs>http://192.0.2.1:8080/onvif/device_service</XAddrs></ProbeMatch></ProbeMatches></e:Body></e:Envelope>"
    )
    fault = (
        "<Envelope><Body><Fault><Code><Value>e:Sender</Value><Subcode><Value>ter:NotAuthorized</Value></Subcode></Code>"
        "<Reason><Text>no</Text></Reason></Fault></Body></Envelope>"
    )
    news = (
        "<Envelope><Body><NotificationMessage><Topic>tns1:RuleEngine/Cell/Motion</Topic><Message><Message UtcTime='1' "
        "PropertyOperation='Changed'><Source><SimpleItem Name='a' Value='1'/></Source><Data><SimpleItem Name='b' "
        "Value='2'/></Data></Message></Message></NotificationMessage></Body></Envelope>"
    )
    genicam = (
        "<RegisterDescription><Integer Name='W'><pValue>WR</pValue><pMax>M</pMax></Integer><IntReg Name='WR'><Address>4"
        "</Address><Length>4</Length></IntReg><SwissKnife Name='M'><pVariable Name='X'>W</pVariable><Formula>X+1"
        "</Formula></SwissKnife></RegisterDescription>"
    )
    return [one.encode() for one in (probe, fault, news, genicam, "Local:camera.xml;10000;2000")]


def gvcp_answer(data: bytes) -> None:
    """What says that it is a GigE Vision camera."""
    found = gvcp._found(gvcp._payload(data, gvcp._DISCOVERY_ACK), "192.0.2.1", "192.0.2.2")
    assert found is None or found.vendor.isprintable()


def device_lines(data: bytes) -> None:
    """What a device sends on a line, in pieces; none is longer than it may be, and nothing else is kept."""
    splitter = LineSplitter()
    for piece in pieces(data):
        assert all(0 < len(line) <= LONGEST_LINE_BYTES for line in splitter.take(piece))
        assert len(splitter._held) <= LONGEST_LINE_BYTES


def modbus_answer(data: bytes) -> None:
    """What a PLC answers, in pieces: a value, a refusal, or an error that says so. It is never waited for."""
    event_loop().run_until_complete(_modbus(data))


async def _modbus(data: bytes) -> None:
    address = output_address("modbus", "tcp://192.0.2.1/1/register/3")
    assert isinstance(address, ModbusAddress)
    link = ModbusLink(address.device, Limits())
    request = ReadHoldingRegistersRequest(address=3, count=1, dev_id=1)
    request.transaction_id = 1
    link._request, link._answer = request, asyncio.get_running_loop().create_future()
    for piece in pieces(data):
        link._take(piece)
        assert len(link._held) <= MAX_RTP_BYTES
    if link._answer.done():
        with contextlib.suppress(DeviceError):
            link._answer.result().isError()
    link._answer.cancel()


def modbus_answers() -> list[bytes]:
    value = bytes.fromhex("000100000005010302002a")
    refusal = bytes.fromhex("000100000003018302")
    return [joined([value]), joined([refusal]), joined([value[:4], value[4:]]), joined([b"\xff" * 300])]
