"""The one process that drives the devices."""
