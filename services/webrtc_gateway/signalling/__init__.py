"""WHEP and WHIP: offers, answers, sessions over HTTP."""
