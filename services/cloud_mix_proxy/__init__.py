"""The CloudMix API and mixes: several streams as one."""
