"""A small ONVIF client: what a stream needs of a camera, and nothing else.

`xml.py` and `soap.py` read and write messages, `transport.py` carries them, `device.py` asks a camera what it has,
`ptz.py` moves it, `events.py` hears it, `discovery.py` finds it.

Own code and not a SOAP library: those load 1.5 MB of schemas for a dozen calls, connect to wherever the camera's
answers lead, and read answers of any size; here every connection goes to the address that was checked.
"""
