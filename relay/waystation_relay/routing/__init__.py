"""Where mail goes: the route that takes a recipient, and the hosts behind a domain."""
