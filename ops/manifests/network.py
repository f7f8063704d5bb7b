"""Doors, who may come through which, and how many pods may be away at once."""

from ops.manifests.common import APART, APP, NATS_PORT, NODE_ENTRIES, Manifest, labels, named
from schemas.service_table import BY_NAME, SERVICE_TABLE, ServiceEntry


def door(entry: ServiceEntry) -> Manifest:
    ports = []
    if entry.http_port:
        ports.append({"name": "http", "port": entry.http_port, "targetPort": f"http-{entry.http_port}"})
    if entry.rtsp_port:
        ports.append({"name": "rtsp", "port": entry.rtsp_port, "targetPort": "rtsp"})
    part = entry.name if entry.name in APART else "node"
    spec: Manifest = {"selector": labels(part), "ports": ports}
    if entry.udp_port:
        # All requests of one viewer go to one gateway: its session lives there.
        spec["sessionAffinity"] = "ClientIP"
    return {"apiVersion": "v1", "kind": "Service", "metadata": named(entry.name), "spec": spec}


def network_policies() -> list[Manifest]:
    http = {entry.name: entry.http_port for entry in SERVICE_TABLE if entry.http_port}
    gateway, publisher = BY_NAME["webrtc-gateway"], BY_NAME["publisher"]
    own = [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": APP}}}]
    monitoring = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    return [
        _policy("closed", {}, []),
        _policy("nats", labels("nats"), [{"from": own, "ports": [tcp(NATS_PORT)]}]),
        _policy(
            "node",
            labels("node"),
            [
                {"ports": [tcp(gateway.http_port), {"port": gateway.udp_port, "protocol": "UDP"}]},
                {"from": own, "ports": [tcp(http["cloud-mix-proxy"]), tcp(publisher.rtsp_port)]},
                {"from": monitoring, "ports": [tcp(entry.metrics_port) for entry in NODE_ENTRIES]},
            ],
        ),
        _policy(
            "frame-extractor",
            labels("frame-extractor"),
            [
                {"from": own, "ports": [tcp(http["frame-extractor"])]},
                {"from": monitoring, "ports": [tcp(BY_NAME["frame-extractor"].metrics_port)]},
            ],
        ),
    ]


def _policy(name: str, selected: Manifest, ingress: list[Manifest]) -> Manifest:
    """Without a rule nobody comes in; what goes out is free: cameras, stores, relays."""
    spec: Manifest = {"podSelector": {"matchLabels": selected} if selected else {}, "policyTypes": ["Ingress"]}
    if ingress:
        spec["ingress"] = ingress
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": named(name), "spec": spec}


def tcp(port: int) -> Manifest:
    return {"port": port, "protocol": "TCP"}


def disruption_budgets() -> list[Manifest]:
    """Of what is drained from nodes: pods of a daemon set are not."""
    return [
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": named(part),
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": labels(part)}},
        }
        for part in ("nats", "frame-extractor")
    ]
