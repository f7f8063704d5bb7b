"""Run cloud-mix-proxy: `python -m services.cloud_mix_proxy`."""

from shared.quick_start import quick_start

if __name__ == "__main__":
    with quick_start():
        from services.cloud_mix_proxy.service import build
        from services.cloud_mix_proxy.settings import CloudMixProxySettings
        from shared.service import run_service
    run_service("cloud-mix-proxy", CloudMixProxySettings, build)
