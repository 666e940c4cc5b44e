"""What the server machine itself says, as bytes on the wire; what policy says comes from ``policy``.

Texts say what to do where there is something to do, and nothing about the
configuration.
"""

import functools

from waystation_relay.mail.reply import encode, reply

encoded = functools.lru_cache(maxsize=1024)(encode)  # of replies that recur


def _said(code: int, enhanced: str, *lines: str) -> bytes:
    return encode(reply(code, enhanced, *lines))


OK = _said(250, "2.0.0", "Ok")
SENDER_OK = _said(250, "2.1.0", "Sender ok")
RECIPIENT_OK = _said(250, "2.1.5", "Recipient ok")
START_DATA = _said(354, "", "Start mail input; end with <CRLF>.<CRLF>")
START_TLS = _said(220, "2.0.0", "Ready to start TLS")
BYE = _said(221, "2.0.0", "Bye")
VRFY = _said(252, "2.5.2", "Cannot VRFY user, but will take a message and try to deliver it")
HELP = _said(214, "2.0.0", "EHLO HELO MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY HELP STARTTLS", "See RFC 5321")

UNKNOWN = _said(500, "5.5.1", "Command not recognized")
NOT_IMPLEMENTED = _said(502, "5.5.1", "Command not implemented")
LINE_TOO_LONG = _said(500, "5.5.2", "Line too long")
BARE_LF = _said(500, "5.5.2", "Lines must end in CR LF (RFC 5321 section 2.3.8)")
NOT_TEXT = _said(500, "5.5.2", "Command is not text")
NO_ARGUMENT = _said(501, "5.5.4", "No argument is allowed here")
HELO_SYNTAX = _said(501, "5.5.4", "Say EHLO with your host name")
MAIL_SYNTAX = _said(501, "5.5.4", "Syntax: MAIL FROM:<address>")
RCPT_SYNTAX = _said(501, "5.5.4", "Syntax: RCPT TO:<address>")
BDAT_SYNTAX = _said(501, "5.5.4", "Syntax: BDAT size [LAST]")
BAD_SENDER = _said(553, "5.1.7", "Sender address is not valid")
BAD_RECIPIENT = _said(553, "5.1.3", "Recipient address is not valid")
SENDER_NEEDS_SMTPUTF8 = _said(550, "5.6.7", "Sender address needs SMTPUTF8 in MAIL")
RECIPIENT_NEEDS_SMTPUTF8 = _said(553, "5.6.7", "Recipient address needs SMTPUTF8 in MAIL")

HELLO_FIRST = _said(503, "5.5.1", "Send EHLO or HELO first")
MAIL_FIRST = _said(503, "5.5.1", "Send MAIL first")
MAIL_TWICE = _said(503, "5.5.1", "Sender is given already; RSET to start over")
CHUNKS_BEGUN = _said(503, "5.5.1", "Message is being sent by BDAT; go on with BDAT, or RSET")
NO_RECIPIENTS = _said(554, "5.5.1", "No valid recipients")
NO_TLS = _said(502, "5.5.1", "STARTTLS is not offered")

TOO_EARLY = _said(554, "5.5.1", "Protocol error: client talks before it may")
TOO_MANY_ERRORS = _said(421, "4.7.0", "Too many errors, closing connection")
TOO_IDLE = _said(421, "4.7.0", "Too many commands and no message, closing connection")
NOT_SMTP = _said(421, "4.7.0", "This is an SMTP server, closing connection")
SHUTTING_DOWN = _said(421, "4.3.2", "Service is shutting down, try again later")
TOO_MANY_SESSIONS = _said(421, "4.3.2", "Too many connections, try again later")
TOO_MANY_OF_CLIENT = _said(421, "4.7.0", "Too many connections from your address, try again later")
IDLE = _said(421, "4.4.2", "Timeout, closing connection")
SESSION_OVER = _said(421, "4.4.2", "Session has lasted long enough, closing connection")
TOO_SLOW = _said(421, "4.4.2", "Data arrives too slowly, closing connection")


def bad_parameter(why: str) -> bytes:
    return _said(501, "5.5.4", why)


def unknown_parameter(keyword: str) -> bytes:
    """RFC 5321 §4.1.1.11."""
    return _said(555, "5.5.4", f"Parameter {keyword} is not known here")


def chunk_taken(size_bytes: int) -> bytes:
    return b"250 2.0.0 %d octets received\r\n" % size_bytes


def queued(queue_id: str) -> bytes:
    return f"250 2.0.0 Ok: queued as {queue_id}\r\n".encode("ascii")
