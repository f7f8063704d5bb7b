"""RTP: payload formats of the codecs the mesh carries, clocks and reports (RFC 3550)."""
