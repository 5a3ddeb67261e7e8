"""Projects of any size, generated: what the captures of code are tried and measured on."""

from __future__ import annotations

from pathlib import Path

MODULE = '''"""Module {number}: two helpers, a class and a constant."""

from __future__ import annotations

import math
{imports}

RATE_{number} = {number} / 7  # a constant that is read
TABLE_{number} = {{"a": 1, "b": [1, 2, 3]}}


class Layer{number}:
    """A class with a method that is called and one that is not."""

    width: int = {number}

    def __init__(self, scale: float = 1.5) -> None:
        self.scale = scale

    def forward_{number}(self, x: float) -> float:
        """Go forward."""
        return self.scale * x + RATE_{number}

    def unused_{number}(self) -> str:
        return f"{{self.scale:.3f}} of {number}"


def helper_{number}(x: float, power: int = 2) -> float:
    """Help."""
    total = 0.0
    for index in range(3):
        total += math.sqrt(abs(x)) ** power + TABLE_{number}["a"] * index
    return Layer{number}().forward_{number}(total)


def unreached_{number}(x: float) -> float:
    """Nobody calls it."""
    values = [helper_{number}(x + index) for index in range(5)]
    return sum(value for value in values if value > 0)


def step_{number}(x: float) -> float:
    """Call what this module imports."""
    return helper_{number}(x){calls}
'''


def make_project(folder: Path, modules: int = 500, package: str = "big", branches: int = 2) -> Path:
    """Write a package of so many modules, each importing the next few, and `main.py` whose `train` reaches them all.

    Of each module eight names are reached: `step`, `helper`, the class, `__init__` and `forward` of it, two constants.

    Returns:
        The path of `main.py`.
    """
    inside = folder / package
    inside.mkdir(parents=True)
    (inside / "__init__.py").write_text('"""A generated package."""\n', "utf-8")
    for number in range(modules):
        after = [child for child in range(branches * number + 1, branches * number + branches + 1) if child < modules]
        imports = "\n".join(f"from .m{child} import step_{child}" for child in after)
        calls = "".join(f" + step_{child}(x)" for child in after)
        (inside / f"m{number}.py").write_text(MODULE.format(number=number, imports=imports, calls=calls), "utf-8")
    main = folder / "main.py"
    main.write_text(
        f"from {package} import m0\n\n\ndef train(lr=0.1):\n    return m0.step_0(lr)\n\n\n"
        'if __name__ == "__main__":\n    train()\n',
        "utf-8",
    )
    return main
