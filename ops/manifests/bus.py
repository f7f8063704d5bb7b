"""The bus: a locked nats-server that keeps its state on a volume. Its secret holds what `framemesh` writes for it."""

from typing import Final

from ops.manifests.common import (
    APP,
    NATS_PORT,
    SECRETS_AT,
    Manifest,
    labels,
    least_rights,
    named,
    pod,
    secrets_mount,
    secrets_volume,
)

_IMAGE: Final = "nats:2-alpine"
_USER: Final = 10002
_MONITOR_PORT: Final = 8222
GIBIBYTES: Final = 10  # of the volume; JetStream may have four of them


def server() -> Manifest:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": named("nats"),
        "spec": {
            "serviceName": f"{APP}-nats",
            "replicas": 1,
            "selector": {"matchLabels": labels("nats")},
            "template": {
                "metadata": {"labels": labels("nats")},
                "spec": {
                    **pod(_USER),
                    "containers": [
                        {
                            "name": "nats",
                            "image": _IMAGE,
                            "args": ["--config", f"{SECRETS_AT}/nats.conf"],
                            "ports": [
                                {"name": "client", "containerPort": NATS_PORT},
                            ],
                            "startupProbe": {**_asked("/healthz"), "periodSeconds": 2, "failureThreshold": 90},
                            "livenessProbe": {**_asked("/healthz?js-server-only=true"), "periodSeconds": 10},
                            "readinessProbe": {**_asked("/healthz?js-enabled-only=true"), "periodSeconds": 5},
                            "resources": {
                                "requests": {"cpu": "100m", "memory": "128Mi"},
                                "limits": {"memory": "1Gi"},
                            },
                            "securityContext": least_rights(),
                            "volumeMounts": [
                                secrets_mount("nats"),
                                {"name": "jetstream", "mountPath": "/data"},
                            ],
                        }
                    ],
                    "volumes": [secrets_volume("nats")],
                },
            },
            "volumeClaimTemplates": [
                {
                    "metadata": {"name": "jetstream"},
                    "spec": {
                        "accessModes": ["ReadWriteOnce"],
                        "resources": {"requests": {"storage": f"{GIBIBYTES}Gi"}},
                    },
                }
            ],
        },
    }


def _asked(path: str) -> Manifest:
    """Its monitoring, which asks nobody who he is, listens on the pod's loopback: asked from within."""
    url = f"http://127.0.0.1:{_MONITOR_PORT}{path}"
    return {"exec": {"command": ["wget", "-q", "-O", "/dev/null", url]}, "timeoutSeconds": 5}


def service() -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": named("nats"),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": labels("nats"),
            "ports": [{"name": "client", "port": NATS_PORT, "targetPort": "client"}],
        },
    }
