"""Whom to tell what became of a message, and the RFC 3464 report that tells it. Pure."""
