"""Data channels on our own transport, and what runs over them: bridges to the bus, and the echo of latency."""
