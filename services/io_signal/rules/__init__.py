"""Rules: when this event, then those commands."""
