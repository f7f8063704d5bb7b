"""A viewer's program, as short as its User-Agent allows: `Chrome 156 (Linux)`."""

import re

_MAX_CHARACTERS = 40
# The most particular first: every browser also names those whose pages it wants to be given.
_PROGRAMS = ("Edg", "OPR", "SamsungBrowser", "Firefox", "FxiOS", "CriOS", "HeadlessChrome", "Chrome", "Version")
_SHOWN = {"Edg": "Edge", "OPR": "Opera", "FxiOS": "Firefox", "CriOS": "Chrome", "Version": "Safari"}
_SYSTEMS = ("Android", "iPhone", "iPad", "Windows", "Mac OS", "CrOS", "Linux")
_UNSAFE = re.compile(r"[^ -~]")  # it goes into tables and terminals


def client_name(user_agent: str) -> str:
    """At most 40 printable ASCII characters; empty when it says nothing."""
    text = _UNSAFE.sub("", user_agent)[:512]
    for program in _PROGRAMS:
        if match := re.search(rf"\b{program}/(\d+)", text):
            system = next((system for system in _SYSTEMS if system in text), "")
            return f"{_SHOWN.get(program, program)} {match[1]}" + (f" ({system})" if system else "")
    return text.partition(" ")[0][:_MAX_CHARACTERS]
