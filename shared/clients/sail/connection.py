"""This module's one connection to the mesh: FRAMEMESH_NATS_URL, _NODE and _SHM_DIR say where, as for the services."""

from typing import Final

from shared.clients.process_connection import ProcessConnection

_connection: Final = ProcessConnection("sail")
mesh = _connection.mesh
check_process = _connection.check_process
before_close = _connection.before_close
close = _connection.close
