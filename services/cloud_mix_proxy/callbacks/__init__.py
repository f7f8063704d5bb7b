"""Telling a task's owner what becomes of it."""
