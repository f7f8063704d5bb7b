"""Run cloud-mix-proxy: `python -m services.cloud_mix_proxy`."""

from shared.quick_start import quick_start

with quick_start():
    from services.cloud_mix_proxy.service import build
    from services.cloud_mix_proxy.settings import CloudMixProxySettings
    from shared.service import run_service


def main() -> None:
    """Does not return."""
    run_service("cloud-mix-proxy", CloudMixProxySettings, build)


if __name__ == "__main__":
    main()
