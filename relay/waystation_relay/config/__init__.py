"""The relay's configuration as it stands: load, watch, swap an immutable snapshot."""
