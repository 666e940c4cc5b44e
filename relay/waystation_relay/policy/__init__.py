"""Who may send what: facts → a chain of checks → a verdict. Pure; the session gathers the facts."""
