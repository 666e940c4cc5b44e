"""The objects of a pool, one builder a module: spec in, dict for server-side apply out.

Builders say what they want and nothing else: fields that they leave out belong to whoever sets them.
"""
