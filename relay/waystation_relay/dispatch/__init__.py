"""Due mail becomes attempts, attempts become outcomes, outcomes are committed."""
