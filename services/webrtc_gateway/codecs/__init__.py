"""What viewers can decode, and what they get in place of what they cannot."""
