"""Outputs: where they are, who owns them, and what is done with them."""
