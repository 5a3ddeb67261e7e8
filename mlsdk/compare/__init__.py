"""What changed between runs: causes in causal order, and the effect.

difference   one difference; the order of kinds
comparison   `mlsdk.diff`: two runs side by side, causes and effects
table        more than two: only the columns that differ
cause        all causes in their order
side         one run as it is compared: paths as seen from its top, its sources
params, functions, files, data, packages, machine, variables, chance: the kinds of causes
meaning      whether two configurations say the same
unknown      what the records cannot tell
effect       metrics at the end, and where curves part
shown        a comparison as people read it
"""

from mlsdk.compare.cause import causes
from mlsdk.compare.effect import effects

__all__ = ["causes", "effects"]
