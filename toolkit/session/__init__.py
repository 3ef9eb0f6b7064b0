"""One connected client: what is on the wire, and in which order."""
