"""The manifests for Kubernetes, built by kustomize as kubectl does it, and checked against the API's own schemas."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from ops.manifests import FOLDER
from schemas.service_table import BY_NAME, SERVICE_TABLE
from services.capture.settings import CaptureSettings
from services.cloud_mix_proxy.settings import CloudMixProxySettings
from services.frame_extractor.settings import FrameExtractorSettings
from services.hw_encode.settings import HwEncodeSettings
from services.io_signal.settings import IoSignalSettings
from services.launcher.bundled_nats import nats_server_program
from services.publisher.settings import PublisherSettings
from services.webrtc_gateway.settings import GatewaySettings
from shared.settings import Settings, load_settings

pytestmark = pytest.mark.integration

CACHED = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "framemesh-tests" / "kustomize"
BUILDS = ("base", "overlays/edge", "overlays/gpu", "overlays/single-node")
VERSIONS = ("1.28", "1.33")  # what small distributions still have, and a new one
SETTINGS: dict[str, type[Settings]] = {
    "capture": CaptureSettings,
    "hw-encode": HwEncodeSettings,
    "publisher": PublisherSettings,
    "webrtc-gateway": GatewaySettings,
    "frame-extractor": FrameExtractorSettings,
    "cloud-mix-proxy": CloudMixProxySettings,
    "io-signal": IoSignalSettings,
}


def kustomize() -> list[str]:
    """A program that builds."""
    if CACHED.exists():
        return [str(CACHED), "build"]
    if shutil.which("kubectl"):
        return ["kubectl", "kustomize"]
    pytest.skip("neither kustomize nor kubectl is here; see ops/test-programs.sh")


@cache
def built(name: str) -> tuple[dict[str, Any], ...]:
    done = subprocess.run([*kustomize(), str(FOLDER / name)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def of_kind(manifests: tuple[dict[str, Any], ...], kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in manifests if one["kind"] == kind}


def pods(manifests: tuple[dict[str, Any], ...]) -> Iterator[dict[str, Any]]:
    for manifest in manifests:
        if manifest["kind"] in ("DaemonSet", "Deployment", "StatefulSet"):
            assert manifest["spec"]["selector"]["matchLabels"] == manifest["spec"]["template"]["metadata"]["labels"]
            yield manifest["spec"]["template"]


def containers(manifests: tuple[dict[str, Any], ...]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for pod in pods(manifests) for one in pod["spec"]["containers"]}


@pytest.mark.parametrize("name", BUILDS)
def test_the_api_takes_them(name: str) -> None:
    manifests = built(name)
    assert {one["kind"] for one in manifests} >= {"DaemonSet", "Deployment", "StatefulSet", "NetworkPolicy", "Service"}
    for manifest in manifests:
        for version in VERSIONS:
            kubernetes_validate.validate(manifest, version, strict=True)  # strict: unknown fields too
        if manifest["kind"] != "Namespace":
            assert manifest["metadata"]["namespace"] == "framemesh"


@pytest.mark.parametrize("name", BUILDS)
def test_what_is_named_is_there(name: str) -> None:
    """Selectors, ports, volumes: the API takes names that lead nowhere."""
    manifests = built(name)
    labels = [pod["metadata"]["labels"] for pod in pods(manifests)]
    by_labels = {tuple(sorted(pod["metadata"]["labels"].items())): pod for pod in pods(manifests)}
    assert len(labels) == len(by_labels) == 3
    for service in of_kind(manifests, "Service").values():
        pod = by_labels[tuple(sorted(service["spec"]["selector"].items()))]
        names = [port["name"] for one in pod["spec"]["containers"] for port in one["ports"]]
        assert len(names) == len(set(names))  # unique within a pod, or kubectl warns
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= set(names)
    for policy in of_kind(manifests, "NetworkPolicy").values():
        if not (wanted := policy["spec"]["podSelector"].get("matchLabels")):
            assert "ingress" not in policy["spec"]  # the one that closes all
            continue
        pod = by_labels[tuple(sorted(wanted.items()))]
        open_ports = {(port["port"], port["protocol"]) for rule in policy["spec"]["ingress"] for port in rule["ports"]}
        theirs = {
            (port["containerPort"], port.get("protocol", "TCP"))
            for one in pod["spec"]["containers"]
            for port in one["ports"]
        }
        assert open_ports <= theirs
    for budget in of_kind(manifests, "PodDisruptionBudget").values():
        assert budget["spec"]["selector"]["matchLabels"] in labels
    for pod in pods(manifests):
        volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
        claims = {"jetstream"} if "secrets-nats" in volumes else set()
        mounted = {mount["name"] for one in pod["spec"]["containers"] for mount in one["volumeMounts"]}
        assert mounted == volumes | claims


@pytest.mark.parametrize("name", BUILDS)
def test_every_container_has_the_least_rights(name: str) -> None:
    for pod in pods(built(name)):
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not spec["automountServiceAccountToken"]
        for one in spec["containers"]:
            assert one["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "memory" in one["resources"]["limits"]
            assert {"livenessProbe", "readinessProbe", "startupProbe"} <= one.keys()


def test_all_services_run_once_and_take_their_settings() -> None:
    found = containers(built("base"))
    assert set(found) == {entry.name for entry in SERVICE_TABLE} | {"nats"}
    for entry in SERVICE_TABLE:
        container = found[entry.name]
        assert container["image"].startswith(f"framemesh/{entry.name}:")
        fields = {"spec.nodeName": "Edge_1.example.com", "status.hostIP": "192.0.2.7"}
        environment = {
            one["name"]: one.get("value") or fields[one["valueFrom"]["fieldRef"]["fieldPath"]]
            for one in container["env"]
        }
        settings = load_settings(SETTINGS[entry.name], entry.name, environment)
        assert settings.nats_url == "nats://framemesh-nats:4222"
        mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
        assert str(settings.shm_dir) in mounts
        assert ("/data" in mounts) == (entry.writes != "nothing")
        assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": entry.metrics_port}
        assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": entry.metrics_port}
    gateway = next(port for port in found["webrtc-gateway"]["ports"] if port.get("protocol") == "UDP")
    assert gateway["hostPort"] == gateway["containerPort"] == BY_NAME["webrtc-gateway"].udp_port


def test_services_of_a_node_share_memory_that_is_sized() -> None:
    node = of_kind(built("base"), "DaemonSet")["framemesh-node"]["spec"]["template"]["spec"]
    frames = next(volume for volume in node["volumes"] if volume["name"] == "frames")
    assert frames["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Gi"}
    for one in node["containers"]:
        assert {"name": "frames", "mountPath": "/frames"} in one["volumeMounts"]


def test_overlays_change_what_they_say() -> None:
    base, edge, gpu, alone = map(built, BUILDS)
    node = {
        name: of_kind(manifests, "DaemonSet")["framemesh-node"]["spec"]["template"]["spec"]
        for name, manifests in (("base", base), ("edge", edge), ("gpu", gpu), ("alone", alone))
    }
    assert "hostNetwork" not in node["base"]
    assert node["edge"]["hostNetwork"]
    assert node["edge"]["dnsPolicy"] == "ClusterFirstWithHostNet"
    # Pods with their node's address are no `podSelector`'s.
    assert "from" not in of_kind(edge, "NetworkPolicy")["framemesh-nats"]["spec"]["ingress"][0]
    assert "from" in of_kind(base, "NetworkPolicy")["framemesh-nats"]["spec"]["ingress"][0]
    assert containers(gpu)["hw-encode"]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert not any("nvidia.com/gpu" in one["resources"]["limits"] for one in containers(base).values())
    assert node["base"]["nodeSelector"] == {"framemesh.io/node": "true"}
    assert "nodeSelector" not in node["alone"]


def test_secrets_are_what_is_mounted_and_the_bus_fits_its_volume(tmp_path: Path) -> None:
    """The folder of `framemesh secrets init` becomes secrets, each with the files of one party."""
    folder = tmp_path / "secrets"
    framemesh("secrets", "init", str(folder), "--host", "framemesh-nats")
    # As docs/kubernetes.md has it, but for where the server finds its files here.
    framemesh(
        "nats-config", "standalone", "--secrets", str(folder), "--at", str(folder / "nats"),
        "--store", str(tmp_path / "store"), "--monitor", "127.0.0.1:8222", "-o", str(folder / "nats" / "nats.conf"),
    )  # fmt: skip
    configuration = folder / "nats" / "nats.conf"
    done = subprocess.run(
        [nats_server_program(), "-t", "-c", str(configuration)], capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 0, done.stderr
    for name in BUILDS:
        manifests = built(name)
        for pod in pods(manifests):
            secrets = {one["name"]: one["secret"] for one in pod["spec"]["volumes"] if "secret" in one}
            for container in pod["spec"]["containers"]:
                mounts = [mount for mount in container["volumeMounts"] if mount["name"] in secrets]
                assert [(mount["mountPath"], mount["readOnly"]) for mount in mounts] == [("/run/framemesh", True)]
                party = secrets[mounts[0]["name"]]["secretName"].removeprefix("framemesh-")
                assert party == container["name"], "each reads its own alone"
                there = {path.name for path in (folder / party).iterdir()}
                words = [one["value"] for one in container.get("env", []) if "value" in one] + container.get("args", [])
                named = {word.rpartition("/")[2] for word in words if word.startswith("/run/framemesh/")}
                assert named
                assert named <= there
        claim = of_kind(manifests, "StatefulSet")["framemesh-nats"]["spec"]["volumeClaimTemplates"][0]["spec"]
        gibibytes = int(claim["resources"]["requests"]["storage"].removesuffix("Gi"))
        stored = re.search(r"max_file_store: (\d+)", configuration.read_text())
        assert stored is not None
        assert int(stored[1]) < gibibytes << 30


def framemesh(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "services.cli", *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
