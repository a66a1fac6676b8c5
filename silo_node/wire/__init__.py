"""What can cross the door between a silo and the hub, and nothing else.

Every message is a strict, frozen Pydantic model: a field that is not declared here cannot be sent, and a message
with a field that is not declared here is refused. The folder belongs to the silo because the side that guards the
data owns the list of what may leave; the hub imports it, never the reverse. It depends on Pydantic, cryptography and
BLAKE3 alone and imports nothing else of MedSilo.
"""
