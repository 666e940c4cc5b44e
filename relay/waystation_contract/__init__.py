"""The document by which the operator tells a relay what to do, shared by both and importing neither."""
