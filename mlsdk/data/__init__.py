"""Fingerprints of data: what it is, exactly, in a few hundred bytes; and what changed between two."""
