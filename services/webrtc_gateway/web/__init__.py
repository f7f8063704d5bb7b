"""The HTTP door, and the page's feed of the mesh's state."""
