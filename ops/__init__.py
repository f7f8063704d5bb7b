"""What a mesh is operated with; `generate` refreshes the files here that are made from `schemas`."""
