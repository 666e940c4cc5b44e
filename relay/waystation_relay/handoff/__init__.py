"""From relay to relay of one pool: what a draining relay has left, handed over so that none of it is lost."""
