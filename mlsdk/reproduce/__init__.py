"""Making again what a run was made from."""
