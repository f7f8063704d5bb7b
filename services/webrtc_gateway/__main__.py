"""Run webrtc-gateway: `python -m services.webrtc_gateway`."""

from shared.quick_start import quick_start

with quick_start():
    import uvloop

    from services.webrtc_gateway.service import build
    from services.webrtc_gateway.settings import GatewaySettings
    from shared.service import run_service


def main() -> None:
    """Does not return."""
    # A tenth less CPU for each picture than asyncio's own loop (docs/egress.md).
    run_service("webrtc-gateway", GatewaySettings, build, loop_factory=uvloop.new_event_loop)


if __name__ == "__main__":
    main()
