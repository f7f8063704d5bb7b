"""The vocabulary of the mesh: every Struct, subject and error that crosses a process boundary.

Imports nothing but msgspec, so a client in any process can use it without pulling in media or bus code.
"""
