"""When to try: the next attempt, how many connections a destination bears, what is due soon. Pure."""
