"""What a viewer's line carries, and what is sent when that is less than the rendition needs."""
