"""What every HTTP port of the mesh has: TLS, files that are read again, limits, and logs without secrets."""
