"""What the commands end with when the machine, not the code, is at fault."""


class ClusterError(Exception):
    """The text says what is wrong and what to do; no traceback is shown with it."""
