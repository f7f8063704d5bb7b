"""This module's log: what fails is told here, as the API raises little."""

import logging

log = logging.getLogger("framemesh.sail")
