"""The whole mesh in one Struct, put together from the mirrors of its state."""

from schemas.commands import MeshStatus, OutputEntry, RenditionEntry, StreamEntry
from schemas.mix_resources import MixActual, MixEntry, MixSpec
from schemas.resources import OutputActual, OutputSpec, RenditionActual, RenditionSpec, StreamActual, StreamSpec
from shared.desired import Desired
from shared.state import StateMirrors


def mesh_status(mirrors: StateMirrors) -> MeshStatus:
    """What `framemesh status` and the console show."""
    streams = Desired("capture", StreamSpec, StreamActual, mirrors)
    renditions = Desired("hw-encode", RenditionSpec, RenditionActual, mirrors)
    mixes = Desired("cloud-mix-proxy", MixSpec, MixActual, mirrors)
    outputs = Desired("publisher", OutputSpec, OutputActual, mirrors)
    entries = [
        RenditionEntry(revision=revision, spec=spec, actual=actual) for _, spec, revision, actual in renditions.shown()
    ]
    # Renditions that exist without being asked for: `main` of every stream.
    for actual in renditions.unasked():
        spec = RenditionSpec(stream=actual.stream, rendition=actual.rendition, node=actual.node)
        entries.append(RenditionEntry(revision=0, spec=spec, actual=actual))
    return MeshStatus(
        services=tuple(mirrors.present()),
        streams=tuple(StreamEntry(revision=rev, spec=spec, actual=act) for _, spec, rev, act in streams.shown()),
        renditions=tuple(sorted(entries, key=lambda entry: (entry.spec.stream, entry.spec.rendition))),
        outputs=tuple(OutputEntry(revision=rev, spec=spec, actual=act) for _, spec, rev, act in outputs.shown()),
        mixes=tuple(MixEntry(revision=rev, spec=spec, actual=act) for _, spec, rev, act in mixes.shown()),
    )
