"""Environments of packages: found, built from a lock, kept."""
