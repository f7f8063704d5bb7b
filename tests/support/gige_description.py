"""The GenICam description and the registers of the camera in `gige_camera.py`."""

from collections.abc import Iterable

SENSOR_WIDTH, SENSOR_HEIGHT = 1280, 960
TICKS_PER_SECOND = 125_000_000

# Registers, 32 bits, big endian.
WIDTH, HEIGHT, OFFSET_X, OFFSET_Y, PIXEL_FORMAT = 0x2000, 0x2004, 0x2008, 0x200C, 0x2010
BINNING_X, BINNING_Y, ACQUISITION, RATE_ENABLE, RATE = 0x2014, 0x2018, 0x201C, 0x2020, 0x2024
EXPOSURE, EXPOSURE_AUTO, GAIN, TRIGGER_MODE, TRIGGER_SOURCE = 0x2028, 0x202C, 0x2030, 0x2034, 0x2038
TRIGGER_SOFTWARE, CHUNK_MODE, CHUNK_SELECTOR, LINES, REVERSE = 0x203C, 0x2040, 0x2044, 0x2048, 0x204C
CHUNK_ENABLE = 0x2100  # one for each entry of ChunkSelector
FLOATS = frozenset((RATE, EXPOSURE, GAIN))

PIXEL_FORMATS = {
    "Mono8": 0x01080001,
    "Mono10": 0x01100003,
    "Mono10p": 0x010A0046,
    "Mono10Packed": 0x010C0004,
    "Mono12": 0x01100005,
    "Mono12p": 0x010C0047,
    "Mono12Packed": 0x010C0006,
    "Mono14": 0x01100025,
    "BayerRG8": 0x01080009,
    "BayerRG12": 0x01100011,
    "BayerGB10p": 0x010A0054,
    "RGB8": 0x02180014,
    "BGR8": 0x02180015,
    "YUV422_8": 0x02100032,
}
CHUNKS = {"ExposureTime": 0x1001, "Gain": 0x1002, "FrameID": 0x1003, "LineStatusAll": 0x1004}
_TRIGGER_SOURCES = {"Line1": 0, "Line2": 1, "Software": 2}
CHUNK_BYTES = sum(4 + 8 for _ in CHUNKS)  # 4 of data, 8 of id and length


def _register(name: str, address: int, kind: str = "IntReg", extra: str = "") -> str:
    return f"""<{kind} Name="{name}"><Address>{address:#x}</Address>{extra}<Length>4</Length><AccessMode>RW</AccessMode>
<pPort>Device</pPort>{"<Sign>Unsigned</Sign>" if kind == "IntReg" else ""}<Endianess>BigEndian</Endianess></{kind}>"""


def _integer(name: str, address: int, low: int, high: str, step: int = 1, locked: bool = True) -> str:
    lock = "<pIsLocked>TLParamsLocked</pIsLocked>" if locked else ""
    bound = f"<Max>{high}</Max>" if high.isdigit() else f"<pMax>{high}</pMax>"
    return f"""<Integer Name="{name}">{lock}<pValue>{name}Reg</pValue><Min>{low}</Min>{bound}<Inc>{step}</Inc></Integer>
{_register(f"{name}Reg", address)}"""


def _float(name: str, address: int, low: float, high: float, unit: str) -> str:
    return f"""<Float Name="{name}"><pValue>{name}Reg</pValue><Min>{low}</Min><Max>{high}</Max><Unit>{unit}</Unit>
</Float>{_register(f"{name}Reg", address, "FloatReg")}"""


def _enumeration(name: str, address: int, entries: dict[str, int], locked: bool = False) -> str:
    lock = "<pIsLocked>TLParamsLocked</pIsLocked>" if locked else ""
    inner = "".join(f'<EnumEntry Name="{entry}"><Value>{value}</Value></EnumEntry>' for entry, value in entries.items())
    return f"""<Enumeration Name="{name}">{lock}{inner}<pValue>{name}Reg</pValue></Enumeration>
{_register(f"{name}Reg", address)}"""


def _boolean(name: str, address: int, extra: str = "") -> str:
    return f"""<Boolean Name="{name}"><pValue>{name}Reg</pValue><OnValue>1</OnValue><OffValue>0</OffValue></Boolean>
{_register(f"{name}Reg", address, extra=extra)}"""


def _command(name: str, address: int, value: int) -> str:
    return f"""<Command Name="{name}"><pValue>{name}Reg</pValue><CommandValue>{value}</CommandValue></Command>
{_register(f"{name}Reg", address)}"""


def _chunk(name: str, number: int) -> str:
    kind, feature = ("FloatReg", "Float") if name in ("ExposureTime", "Gain") else ("IntReg", "Integer")
    return f"""<{feature} Name="Chunk{name}"><pValue>Chunk{name}Reg</pValue></{feature}>
<{kind} Name="Chunk{name}Reg"><Address>0</Address><Length>4</Length><AccessMode>RO</AccessMode>
<pPort>Chunk{name}Port</pPort><Endianess>BigEndian</Endianess></{kind}>
<Port Name="Chunk{name}Port"><ChunkID>{number:x}</ChunkID></Port>"""


def _fixed(name: str, formula: str, **variables: str) -> str:
    inner = "".join(f'<pVariable Name="{short}">{node}</pVariable>' for short, node in variables.items())
    return f'<IntSwissKnife Name="{name}">{inner}<Formula>{formula}</Formula></IntSwissKnife>'


def _category(name: str, features: Iterable[str]) -> str:
    return f'<Category Name="{name}">{"".join(f"<pFeature>{feature}</pFeature>" for feature in features)}</Category>'


_IMAGE = "WidthMax HeightMax Width Height OffsetX OffsetY PixelFormat BinningHorizontal BinningVertical ReverseX"
_OTHER = (
    "AcquisitionMode AcquisitionStart AcquisitionStop AcquisitionFrameRateEnable AcquisitionFrameRate ExposureTime "
    "ExposureAuto Gain TriggerSelector TriggerMode TriggerSource TriggerSoftware ChunkModeActive ChunkSelector "
    "ChunkEnable PayloadSize TLParamsLocked " + " ".join(f"Chunk{name}" for name in CHUNKS)
)


def description(*more: str) -> bytes:
    """The XML file, with `more` nodes."""
    chunk_numbers = {name: index for index, name in enumerate(CHUNKS)}
    parts = [
        _category("Root", ("Image", "Other")),
        _category("Image", _IMAGE.split()),
        _category("Other", _OTHER.split()),
        _fixed("WidthMax", f"{SENSOR_WIDTH} / B", B="BinningHorizontal"),
        _fixed("HeightMax", f"{SENSOR_HEIGHT} / B", B="BinningVertical"),
        _fixed("OffsetXMax", "M - W", M="WidthMax", W="Width"),
        _fixed("OffsetYMax", "M - H", M="HeightMax", H="Height"),
        _integer("Width", WIDTH, 16, "WidthMax", 16),
        _integer("Height", HEIGHT, 2, "HeightMax", 2),
        _integer("OffsetX", OFFSET_X, 0, "OffsetXMax", 4, locked=False),
        _integer("OffsetY", OFFSET_Y, 0, "OffsetYMax", 2, locked=False),
        _integer("BinningHorizontal", BINNING_X, 1, "4"),
        _integer("BinningVertical", BINNING_Y, 1, "4"),
        _enumeration("PixelFormat", PIXEL_FORMAT, PIXEL_FORMATS, locked=True),
        _boolean("ReverseX", REVERSE),
        '<Enumeration Name="AcquisitionMode"><EnumEntry Name="Continuous"><Value>0</Value></EnumEntry><Value>0</Value>'
        "</Enumeration>",
        _command("AcquisitionStart", ACQUISITION, 1),
        _command("AcquisitionStop", ACQUISITION, 0),
        _boolean("AcquisitionFrameRateEnable", RATE_ENABLE),
        _float("AcquisitionFrameRate", RATE, 1, 200, "Hz"),
        _float("ExposureTime", EXPOSURE, 10, 10_000_000, "us"),
        _enumeration("ExposureAuto", EXPOSURE_AUTO, {"Off": 0, "Continuous": 1}),
        _float("Gain", GAIN, 0, 24, "dB"),
        '<Enumeration Name="TriggerSelector"><EnumEntry Name="FrameStart"><Value>0</Value></EnumEntry><Value>0</Value>'
        "</Enumeration>",
        _enumeration("TriggerMode", TRIGGER_MODE, {"Off": 0, "On": 1}),
        _enumeration("TriggerSource", TRIGGER_SOURCE, _TRIGGER_SOURCES),
        _command("TriggerSoftware", TRIGGER_SOFTWARE, 1),
        _boolean("ChunkModeActive", CHUNK_MODE),
        _enumeration("ChunkSelector", CHUNK_SELECTOR, chunk_numbers),
        _boolean("ChunkEnable", CHUNK_ENABLE, '<pIndex Offset="4">ChunkSelector</pIndex>'),
        *(_chunk(name, number) for name, number in CHUNKS.items()),
        _fixed(
            "PayloadSize",
            f"W * H * ((P &gt;&gt; 16) &amp; 255) / 8 + (C = 1 ? {CHUNK_BYTES + 8} : 0)",
            W="Width", H="Height", P="PixelFormatReg", C="ChunkModeActiveReg",
        ),
        '<Integer Name="TLParamsLocked"><Value>0</Value><Min>0</Min><Max>1</Max></Integer>',
        '<Port Name="Device"/>',
        *more,
    ]  # fmt: skip
    head = (
        '<?xml version="1.0" encoding="utf-8"?><RegisterDescription ModelName="Eye" VendorName="Test" '
        'ToolTip="" StandardNameSpace="GEV" SchemaMajorVersion="1" SchemaMinorVersion="1" SchemaSubMinorVersion="0" '
        'MajorVersion="1" MinorVersion="0" SubMinorVersion="0" ProductGuid="0" VersionGuid="0" '
        'xmlns="http://www.genicam.org/GenApi/Version_1_1">'
    )
    return (head + "\n".join(parts) + "</RegisterDescription>").encode()
