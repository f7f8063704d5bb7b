"""What `framemesh top` shows: gathered from the bus, as one scene a second, drawn as text or as a live screen."""
