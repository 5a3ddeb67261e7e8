"""What a run was made from, as it is now."""
