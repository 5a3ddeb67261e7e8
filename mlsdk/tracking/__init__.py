"""What runs inside the training process: the live run, the decorator, the current-run context."""
