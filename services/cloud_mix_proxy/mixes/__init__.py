"""Mixes of this node: what they are made of, and the process that makes each."""
