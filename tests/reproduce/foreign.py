"""Programs that nobody here wrote: the examples in the docstrings of installed libraries, made runs by the decorator.

Statements stay as they are. What an example shows, and whatever else it has made when it ends, is what the tracked
function returns.
"""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import textwrap
from pathlib import Path

EXAMPLES = (
    "sklearn.linear_model:LogisticRegression",
    "sklearn.ensemble:RandomForestClassifier",
    "sklearn.ensemble:HistGradientBoostingClassifier",
    "sklearn.cluster:KMeans",
    "sklearn.neural_network:MLPClassifier",
    "sklearn.gaussian_process:GaussianProcessClassifier",
    "sklearn.model_selection:cross_validate",
    "sklearn.manifold:TSNE",
    "torch:gradient",
    "torch:nn.CrossEntropyLoss",
    "torch:nn.LSTM",
    "torch:linalg.lstsq",
)
"""Where the examples stand, `module:name`."""

UNSEEDED = {
    "sklearn.manifold:TSNE": "numpy",
    "torch:nn.CrossEntropyLoss": "torch",
    "torch:nn.LSTM": "torch",
    "torch:linalg.lstsq": "torch",
}
"""Those that draw numbers without a seed, and from which generator: they are another program each time."""

_BEFORE = {"torch": "import torch\nfrom torch import nn\n"}
"""What the examples of a library take for granted."""


def program(example: str) -> str:
    """The source of a program that runs an example once, as one tracked function."""
    module, _, name = example.partition(":")
    found: object = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    examples = doctest.DocTestParser().get_examples(inspect.getdoc(found) or "")
    lines = [_shown(one.source) if one.want else one.source.rstrip() for one in examples]
    body = textwrap.indent("\n".join(["shown = []", *lines]), "    ")
    before = _BEFORE.get(module.partition(".")[0], "")
    return (
        f"import mlsdk\n{before}\n\n@mlsdk.track(experiment='foreign')\ndef example():\n{body}\n"
        "    return dict(locals())\n\n\nexample()\n"
    )


def write(example: str, folder: Path) -> Path:
    """Write the program into a new folder."""
    folder.mkdir(parents=True)
    path = folder / "main.py"
    path.write_text(program(example), "utf-8")
    return path


def _shown(source: str) -> str:
    """A statement that shows something, which is kept: an expression, or what is printed."""
    (statement,) = ast.parse(source).body
    if not isinstance(statement, ast.Expr):
        return source.rstrip()
    value: ast.expr = statement.value
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "print":
        value = ast.Tuple(value.args, ast.Load())
    return f"shown.append({ast.unparse(value)})"
