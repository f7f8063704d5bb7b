"""What all manifests have in common: names, labels, the identity of pods and the rights of containers."""

from typing import Any, Final

from schemas.service_table import SERVICE_TABLE
from services.launcher.secret_folder import CA_FILE, CERTIFICATE_FILE, KEY_FILE, SEED_FILE
from shared.bus_access import CA_VARIABLE, CERTIFICATE_VARIABLE, CREDENTIALS_VARIABLE, KEY_VARIABLE

APP: Final = "framemesh"
USER: Final = 10001  # of the images
# It takes jobs from the bus and pictures out of videos and packets: as many as there is work for, on any node.
APART: Final = ("frame-extractor",)
NODE_ENTRIES: Final = tuple(entry for entry in SERVICE_TABLE if entry.name not in APART)
NATS_PORT: Final = 4222
SECRETS_AT: Final = "/run/framemesh"
_FOR_ITS_GROUP: Final = 0o440  # of the pod: files of a secret belong to root

Manifest = dict[str, Any]


def labels(part: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": APP, "app.kubernetes.io/component": part}


def named(part: str) -> Manifest:
    return {"name": f"{APP}-{part}", "labels": labels(part)}


def pod(user: int = USER) -> Manifest:
    """Of every pod."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,  # it would add variables of every service to ours
        "terminationGracePeriodSeconds": 20,  # a service gives itself 8 to end, files closed properly
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": user,
            "runAsGroup": user,
            "fsGroup": user,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def least_rights() -> Manifest:
    """Of every container."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def access() -> list[Manifest]:
    """What a service proves itself to the bus with."""
    files = {
        CREDENTIALS_VARIABLE: SEED_FILE,
        CA_VARIABLE: CA_FILE,
        CERTIFICATE_VARIABLE: CERTIFICATE_FILE,
        KEY_VARIABLE: KEY_FILE,
    }
    return [{"name": variable, "value": f"{SECRETS_AT}/{file}"} for variable, file in files.items()]


def secrets_volume(part: str) -> Manifest:
    """Of one party alone: no container reads another's."""
    return {"name": f"secrets-{part}", "secret": {"secretName": f"{APP}-{part}", "defaultMode": _FOR_ITS_GROUP}}


def secrets_mount(part: str) -> Manifest:
    return {"name": f"secrets-{part}", "mountPath": SECRETS_AT, "readOnly": True}
