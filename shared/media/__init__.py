"""Media helpers: small, no service knowledge, `av` imported only where libav is really used."""
