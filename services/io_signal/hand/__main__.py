"""Drive the devices: `python -m services.io_signal.hand`, started by the service and told by its standard input."""

from shared.quick_start import quick_start

if __name__ == "__main__":
    with quick_start():
        from services.io_signal.hand.process import main
    main()
