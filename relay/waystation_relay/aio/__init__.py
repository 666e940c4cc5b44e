"""Time and streams, as values that tests can replace."""
