"""The receiving side: publishers' packets become access units on the bus. Knows nothing of how a session was signalled
but what `terms` say, so that another signalling can stand on the same parts."""
