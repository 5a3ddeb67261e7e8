"""Figures of DESIGN: measured, printed as a table, never asserted. `python -m tests.benchmarks [--large] [name …]`."""
