"""The services of the mesh, one folder each, run with `python -m services.<name>`."""
