"""What two runs came to, compared by content."""
