"""Make one mix: `python -m services.cloud_mix_proxy.mixer`, started by the service and told by its standard input."""

from shared.quick_start import quick_start

if __name__ == "__main__":
    with quick_start():
        from services.cloud_mix_proxy.mixer.process import main
    main()
