"""The pods: one per node for all that needs its frames, and the extractors apart.

The containers of a node's pod share an `emptyDir` in memory: it is sized, counted and taken away with the pod,
survives each container's crash, and needs no folder of the host. A tmpfs of the host would be nobody's memory in the
scheduler's books, and files of an earlier start would lie in it.
"""

from typing import Final

from ops.manifests.common import (
    APP,
    NATS_PORT,
    NODE_ENTRIES,
    Manifest,
    access,
    labels,
    least_rights,
    named,
    pod,
    secrets_mount,
    secrets_volume,
)
from schemas.service_table import BY_NAME, ServiceEntry

_FRAMES: Final = "/frames"
_SHM_SIZE: Final = "1Gi"  # of eight cameras in 1080p; `framemesh doctor --shm mesh.yaml` reckons it
# MiB: at rest, and at most. Who makes rings has them counted as its own.
_MEMORY: Final = {
    "capture": (128, 2048),
    "hw-encode": (128, 2048),
    "publisher": (96, 1024),
    "webrtc-gateway": (128, 1024),
    "frame-extractor": (192, 4096),
    "cloud-mix-proxy": (128, 2048),
    "io-signal": (96, 256),
}
_CPU_REQUEST: Final = {"hw-encode": "500m", "webrtc-gateway": "250m"}
_USUAL_CPU_REQUEST: Final = "100m"


def node() -> Manifest:
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": named("node"),
        "spec": {
            "selector": {"matchLabels": labels("node")},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
            "template": {
                "metadata": {"labels": labels("node")},
                "spec": {
                    **pod(),
                    # Which nodes have cameras, or lend their processors: kubectl label node NAME framemesh.io/node=true
                    "nodeSelector": {"framemesh.io/node": "true"},
                    "containers": [_container(entry) for entry in NODE_ENTRIES],
                    "volumes": [
                        {"name": "frames", "emptyDir": {"medium": "Memory", "sizeLimit": _SHM_SIZE}},
                        # Recordings stay when pods go, and lie where the disk is: a folder of user 10001.
                        {"name": "data", "hostPath": {"path": "/var/lib/framemesh", "type": "Directory"}},
                        {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}},
                        *(secrets_volume(entry.name) for entry in NODE_ENTRIES),
                    ],
                },
            },
        },
    }


def extractor() -> Manifest:
    entry = BY_NAME["frame-extractor"]
    container = _container(entry)
    # Each is a node of its own, by its pod's name: it shares no memory with others.
    container["env"] = [one for one in container["env"] if one["name"] != "FRAMEMESH_HOSTNAME"]
    container["env"].append(
        {"name": f"{entry.environment_prefix}MEMORY_BYTES", "value": str(_MEMORY[entry.name][1] // 2 << 20)}
    )
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": named(entry.name),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels(entry.name)},
            "template": {
                "metadata": {"labels": labels(entry.name)},
                "spec": {
                    **pod(),
                    "containers": [container],
                    "volumes": [
                        {"name": "frames", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
                        {"name": "data", "emptyDir": {"sizeLimit": "10Gi"}},
                        {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
                        secrets_volume(entry.name),
                    ],
                },
            },
        },
    }


def _container(entry: ServiceEntry) -> Manifest:
    least, most = _MEMORY[entry.name]
    return {
        "name": entry.name,
        "image": f"framemesh/{entry.name}",
        "env": [
            {"name": "FRAMEMESH_NATS_URL", "value": f"nats://{APP}-nats:{NATS_PORT}"},
            # The host's name and not the pod's: streams belong to it, and pods come and go.
            {"name": "FRAMEMESH_HOSTNAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "FRAMEMESH_SHM_DIR", "value": _FRAMES},
            {"name": "FRAMEMESH_LOG", "value": "json"},
            *access(),
            *_own_settings(entry),
        ],
        "ports": _ports(entry),
        "startupProbe": {**_asked(entry, "/healthz"), "periodSeconds": 2, "failureThreshold": 60},
        "livenessProbe": {**_asked(entry, "/healthz"), "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3},
        "readinessProbe": {**_asked(entry, "/readyz"), "periodSeconds": 5, "timeoutSeconds": 5},
        "resources": {
            "requests": {"cpu": _CPU_REQUEST.get(entry.name, _USUAL_CPU_REQUEST), "memory": f"{least}Mi"},
            "limits": {"memory": f"{most}Mi"},
        },
        "securityContext": least_rights(),
        "volumeMounts": [
            {"name": "frames", "mountPath": _FRAMES},
            secrets_mount(entry.name),
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  # a volume of the pod
            *([] if entry.writes == "nothing" else [{"name": "data", "mountPath": "/data"}]),
        ],
    }


def _own_settings(entry: ServiceEntry) -> list[Manifest]:
    if entry.udp_port:
        # Where viewers send to: the port of the host leads to this pod.
        return [{"name": "FRAMEMESH_WEBRTC_HOSTS", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}]
    if entry.name == "capture":
        return [{"name": f"{entry.environment_prefix}FILE_ROOTS", "value": "/data/media"}]
    return []


def _asked(entry: ServiceEntry, path: str) -> Manifest:
    return {"httpGet": {"path": path, "port": entry.metrics_port}}


def _ports(entry: ServiceEntry) -> list[Manifest]:
    # Names are of the whole pod: each container's own end with its port.
    ports: list[Manifest] = [{"name": f"metrics-{entry.metrics_port}", "containerPort": entry.metrics_port}]
    if entry.http_port:
        ports.append({"name": f"http-{entry.http_port}", "containerPort": entry.http_port})
    if entry.rtsp_port:
        ports.append({"name": "rtsp", "containerPort": entry.rtsp_port})
    if entry.udp_port:
        ports.append({"name": "webrtc", "containerPort": entry.udp_port, "hostPort": entry.udp_port, "protocol": "UDP"})
    return ports
