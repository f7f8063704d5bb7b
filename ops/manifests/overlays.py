"""Overlays: one node alone, edge hosts with cameras, hosts with graphics cards."""

import json
from typing import Any, Final

from ops.manifests.common import APP, NATS_PORT, NODE_ENTRIES, Manifest
from ops.manifests.network import tcp
from schemas.service_table import BY_NAME

_CLAIM: Final = "/spec/volumeClaimTemplates/0/spec/resources/requests"
_POD: Final = "/spec/template/spec"
_SMALL_GIBIBYTES: Final = 5  # JetStream may have four of them

Operation = dict[str, Any]


def overlays() -> dict[str, Manifest]:
    """Their kustomizations, by name."""
    encoder = f"{_POD}/containers/{NODE_ENTRIES.index(BY_NAME['hw-encode'])}"
    return {
        # A single machine is every node there is: no label is needed, and the bus takes less of its disk.
        "single-node": _overlay(
            _patch("DaemonSet", "node", _remove(f"{_POD}/nodeSelector")),
            _patch("StatefulSet", "nats", _replace(f"{_CLAIM}/storage", f"{_SMALL_GIBIBYTES}Gi")),
        ),
        # Cameras are looked for by multicast, which no network of pods carries; and viewers come straight to the host.
        "edge": _overlay(
            _patch(
                "DaemonSet",
                "node",
                _add(f"{_POD}/hostNetwork", True),
                _add(f"{_POD}/dnsPolicy", "ClusterFirstWithHostNet"),
            ),
            # Such pods come with the addresses of their nodes, which no selector of pods knows.
            _patch("NetworkPolicy", "nats", _replace("/spec/ingress/0", {"ports": [tcp(NATS_PORT)]})),
        ),
        "gpu": _overlay(
            _patch(
                "DaemonSet",
                "node",
                _add(f"{_POD}/runtimeClassName", "nvidia"),
                _add(f"{_POD}/nodeSelector/nvidia.com~1gpu.present", "true"),
                _add(f"{encoder}/resources/limits/nvidia.com~1gpu", "1"),
                _add(f"{encoder}/env/-", {"name": "NVIDIA_DRIVER_CAPABILITIES", "value": "compute,video,utility"}),
            )
        ),
    }


def _overlay(*patches: Manifest) -> Manifest:
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": APP,
        "resources": ["../../base"],
        "patches": [*patches],
    }


def _patch(kind: str, part: str, *operations: Operation) -> Manifest:
    lines = ",\n".join(f"  {json.dumps(operation)}" for operation in operations)
    return {"target": {"kind": kind, "name": f"{APP}-{part}"}, "patch": f"[\n{lines}\n]\n"}


def _add(path: str, value: Any) -> Operation:
    return {"op": "add", "path": path, "value": value}


def _replace(path: str, value: Any) -> Operation:
    return {"op": "replace", "path": path, "value": value}


def _remove(path: str) -> Operation:
    return {"op": "remove", "path": path}
