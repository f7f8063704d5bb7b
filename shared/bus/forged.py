"""Commands that nobody was allowed to send, and which came all the same.

A NATS server checks what a party publishes, and neither the subject that JetStream shall deliver to nor the one that a
reply shall go to. So a party that may read a bucket could let the server send what it has written there to a command's
subject, and one that may ask a service for something could let the answer go there. Both are known by what they are.
"""

from collections.abc import Mapping

_FROM_JETSTREAM = ("Nats-Stream", "Nats-Subject", "Nats-Sequence")  # the server puts them into what it read
_FROM_A_SERVICE = ("Nats-Service-Error", "Nats-Service-Error-Code")
_NO_INBOXES = ("mesh.", "$")


def why_forged(subject: str, wanted: str, reply: str, headers: Mapping[str, str] | None) -> str:
    """What is wrong with a command that came for `wanted`; empty: nothing."""
    if subject != wanted:
        return f"a consumer delivers {subject}"
    if reply.startswith(_NO_INBOXES):
        return f"its reply would go to {reply}, which is nobody's inbox"
    for name in headers or ():
        if name in _FROM_JETSTREAM:
            return "it is an answer of JetStream"
        if name in _FROM_A_SERVICE:
            return "it is an answer of a service"
    return ""
