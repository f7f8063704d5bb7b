"""Signals to machines and from them, and rules between events and commands."""
