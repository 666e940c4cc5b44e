"""Mail comes in: listeners, and one conversation each."""
