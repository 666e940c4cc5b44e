"""The relay's own door for probes, metrics and people: HTTP on a port that is not in the SMTP Service."""
