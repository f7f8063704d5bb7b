"""From the samples of any frame to those that a file or an array takes: colours, light, depth and layout."""
