"""One module a parser; see ``tests.fuzz.target``."""
