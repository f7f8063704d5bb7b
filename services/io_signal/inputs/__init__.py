"""Inputs of this node: what they tell becomes events, joined to the pictures of that instant."""
