"""Which m-line carries what, over the life of a connection: mids stay, and in their order (RFC 9429 section 5.2.2)."""

from collections.abc import Sequence

from services.webrtc_gateway.sora.sections import MAX_SECTIONS, Kind, Section, SectionKind, new_ssrc


class Layout:
    """The m-lines of one connection."""

    def __init__(self) -> None:
        self.sections: list[Section] = []
        self._freed: list[Section] = []
        """Used once and silent now, the one that is silent for the longest time first."""

    @property
    def uplink_mids(self) -> dict[str, str]:
        """By kind."""
        return {section.kind: section.mid for section in self.sections if section.direction == "recvonly"}

    def add_uplink(self, kinds: Sequence[Kind]) -> None:
        """Before everything else: clients bind what they send to the first m-line of its kind."""
        for kind in kinds:
            self._append(kind).direction = "recvonly"

    def add_data(self) -> None:
        """The m-line of data channels; with it alone there is a connection."""
        self._append("application")

    def fill(self, kinds: Sequence[Kind]) -> None:
        """Without an m-line there is no connection: one of each kind for what is to come."""
        if not self.sections:
            for kind in kinds:
                self._append(kind)

    def take(self, kinds: Sequence[Kind], stream: str) -> tuple[Section, ...]:
        """An m-line for each kind; empty: there is no room."""
        taken: list[Section] = []
        for kind in kinds:
            section = self._find(kind)
            if section is None:
                self.free(taken)
                return ()
            if section.used:
                section.ssrc = new_ssrc()
            section.direction, section.stream, section.used = "sendonly", stream, True
            taken.append(section)
        return tuple(taken)

    def free(self, sections: Sequence[Section]) -> None:
        for section in sections:
            section.direction, section.stream = "inactive", ""
            self._freed.append(section)

    def _find(self, kind: Kind) -> Section | None:
        for section in self.sections:
            if section.kind == kind and section.direction == "inactive" and not section.used:
                return section
        if len(self.sections) < MAX_SECTIONS:
            return self._append(kind)
        # Only now: sinks of the client that are left from the stream before would get this one's pictures.
        for section in self._freed:
            if section.kind == kind:
                self._freed.remove(section)
                return section
        return None

    def _append(self, kind: SectionKind) -> Section:
        section = Section(str(len(self.sections)), kind)
        self.sections.append(section)
        return section
