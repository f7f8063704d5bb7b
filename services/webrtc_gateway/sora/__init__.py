"""Sora-compatible signalling over a WebSocket: connections of a channel send and receive over one link each, by the
parts that WHIP and WHEP stand on."""
