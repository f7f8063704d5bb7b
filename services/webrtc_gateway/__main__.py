"""Run webrtc-gateway: `python -m services.webrtc_gateway`."""

from services.webrtc_gateway.service import build
from services.webrtc_gateway.settings import GatewaySettings
from shared.service import run_service

if __name__ == "__main__":
    run_service("webrtc-gateway", GatewaySettings, build)
