"""Licences of installed packages, by the names of SPDX, from what the packages say of themselves."""

import re
from collections.abc import Iterable, Iterator
from importlib import metadata
from typing import Final

from packaging.requirements import Requirement

# What packages write in place of an SPDX name; looked for in this order, as "LGPL" is in more than one of them.
_NAMES: Final[tuple[tuple[str, str], ...]] = (
    (r"affero|agpl", "AGPL"),
    (r"lesser general public|lgpl.*3|lgplv3", "LGPL-3.0-or-later"),
    (r"lgpl", "LGPL-2.1-or-later"),
    (r"gnu general public|\bgpl", "GPL"),
    (r"mozilla public|mpl[- ]2", "MPL-2.0"),
    (r"apache", "Apache-2.0"),
    (r"python software foundation|psf", "PSF-2.0"),
    (r"bsd[- ]2|2-clause", "BSD-2-Clause"),
    (r"bsd|redistribution and use in source", "BSD-3-Clause"),
    (r"\bisc\b", "ISC"),
    (r"\bmit\b|permission is hereby granted, free of charge", "MIT"),
)
_STRONG_COPYLEFT: Final = re.compile(r"\b(?:A?GPL)", re.IGNORECASE)
_LICENCE_FILE_CHARACTERS: Final = 2_000  # a licence says what it is called at its beginning


def licence_of(package: str) -> str | None:
    """The licence of an installed package; None: it is not installed, or does not say.

    An SPDX expression of the package is taken as it is; else its classifiers, its field and its file, in this order.
    """
    try:
        found = metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return None
    if expression := _field(found, "License-Expression"):
        return expression
    # PyPI's own words for a licence are plainer than the field, which some fill with the whole text; but there is one
    # word for all licences of BSD.
    classified = [item for item in found.metadata.get_all("Classifier") or () if item.startswith("License ::")]
    names = sorted({name for item in classified if (name := _spdx(item.rpartition("::")[2]))})
    if names and names != ["BSD-3-Clause"]:
        return " AND ".join(names)
    written = _field(found, "License")
    if written.startswith("LicenseRef-") or " AND " in written or " OR " in written:
        return written
    return _spdx(written) or next(iter(names), None) or _spdx(_licence_file(found))


def is_strong_copyleft(licence: str) -> bool:
    """Whether a program that uses it falls under GPL or AGPL; one that may be chosen (`OR`) does not bind."""
    choices = re.split(r"\s+OR\s+", licence.replace("(", " ").replace(")", " "))
    return all(_STRONG_COPYLEFT.search(choice) for choice in choices)


def needed_by(requirements: Iterable[str]) -> Iterator[str]:
    """Names of what is installed for these requirements, and for those again, each once; extras as asked for."""
    seen: set[tuple[str, str]] = set()
    open_ones = [Requirement(text) for text in requirements]
    while open_ones:
        requirement = open_ones.pop()
        name = canonical(requirement.name)
        new = {(name, extra) for extra in ("", *requirement.extras)} - seen
        if not new:
            continue
        if (name, "") in new:
            yield name
        seen |= new
        try:
            further = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        open_ones += [
            inner
            for inner in map(Requirement, further)
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for _, extra in new)
        ]


def canonical(name: str) -> str:
    """A package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _field(found: metadata.Distribution, name: str) -> str:
    return next(iter(found.metadata.get_all(name) or ()), "")


def _spdx(text: str) -> str | None:
    return next((name for pattern, name in _NAMES if re.search(pattern, text, re.IGNORECASE)), None)


def _licence_file(found: metadata.Distribution) -> str:
    paths = [file for file in found.files or () if re.match(r"(?i)(licen[cs]e|copying)", file.name)]
    if not paths:
        return ""
    text = found.read_text(paths[0].name) or found.read_text(f"licenses/{paths[0].name}") or ""
    return text[:_LICENCE_FILE_CHARACTERS]
