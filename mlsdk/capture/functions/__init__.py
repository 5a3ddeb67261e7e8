"""The functions that a run can reach, each by a hash of what it says."""
