"""What runs beside the training process: one helper process for a user, host, job and store."""
