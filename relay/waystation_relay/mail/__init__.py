"""The values that travel: addresses, envelopes, replies, outcomes, messages. No I/O, no policy."""
