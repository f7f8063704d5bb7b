"""Client libraries for applications that use the mesh."""
