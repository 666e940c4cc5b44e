"""What the event loop and the process need: time as a value, tasks with an owner, signals, addresses."""
