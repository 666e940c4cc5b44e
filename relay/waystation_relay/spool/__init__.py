"""The queue on disk: group commit, recovery, and everything that calls fsync, rename or unlink.

``spool.Spool`` is the way in; ``values`` holds what it takes and gives.
``docs/spool-states.md`` tabulates every state a crash can leave, and
``docs/design/spool.md`` the measurements behind the layout.
"""
