"""SMTP and LMTP without I/O: grammar, replies, framing, server and client machines."""
