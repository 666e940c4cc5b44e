"""What operators see: metrics, the event log, the admin HTTP interface."""
