"""Inputs within the hand: devices are listened to, and what they deliver becomes events."""
