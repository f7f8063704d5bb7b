"""How datagrams travel: ICE on one UDP port, TCP beside it, DTLS and SRTP."""
