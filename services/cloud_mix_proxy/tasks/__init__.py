"""Tasks of the CloudMix API: kept on the bus, made of a mix, a rendition and outputs, or of a task in a cloud."""
