"""What every service needs: the bus, frame and packet rings, media helpers, metrics, settings, the service runner."""
