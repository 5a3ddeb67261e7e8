"""What changed between runs: causes in causal order, and the effect.

difference   one difference; the order of kinds
"""
