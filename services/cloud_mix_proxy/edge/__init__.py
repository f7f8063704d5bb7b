"""The CloudMix API over HTTP."""
