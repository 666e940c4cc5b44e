"""What operators see: metrics and the event log."""
