"""Packages and the interpreter."""

from __future__ import annotations

from collections.abc import Iterable

from mlsdk.compare.difference import Difference
from mlsdk.compare.side import Side
from mlsdk.compare.values import Values, differing, given, mapping

_INTERPRETER = ("python", "implementation", "free_threaded", "gil", "platform", "machine", "libc", "system", "kernel")

_FLAGS_THAT_MEAN_NOTHING = frozenset((
    "dont_write_bytecode", "hash_randomization", "ignore_environment", "inspect", "interactive", "isolated",
    "no_site", "no_user_site", "quiet", "safe_path", "verbose",
))  # fmt: skip
"""What finds and loads modules: those that were loaded are compared themselves. Hashes are compared as chance."""

_NO_SWITCHES = ("version", "threads", "interop_threads")
"""Of frameworks: compared as packages, and as threads."""

OURS = "mlsdk"


def package_differences(a: Side, b: Side) -> list[Difference]:
    """Distributions of other versions or origins; what a run had imported is direct, all else indirect."""
    sides = (a.environment, b.environment)
    if not all("distributions" in of for of in sides):
        return []
    imported = {str(name) for of in sides for name in mapping(of.get("packages"))} - {OURS}
    found = [
        Difference("package", name, given(x), given(y), direct=name in imported)
        for name, x, y in differing(*map(_versions, sides))
    ]
    if all("modified" in of for of in sides):
        for name, x, y in differing(*({n: _files(v) for n, v in mapping(of["modified"]).items()} for of in sides)):
            details = ("its files were edited after the install",)
            found.append(Difference("package", f"{name} (edited)", given(x), given(y), details, name in imported))
    switches = [dict(_switches(of)) for of in sides]
    for name, x, y in differing(*switches):
        if name in switches[0] and name in switches[1]:  # else it was not loaded yet, in one of them
            found.append(Difference("package", name, x, y, ("a switch of it",)))
    return found


def _versions(environment: Values) -> dict[str, object]:
    """Versions by name, with the commit or the digest where they come from no index; what conda installed besides."""
    found = {str(name): version for name, version in mapping(environment.get("distributions")).items()}
    for name, build in mapping(environment.get("conda")).items():
        found.setdefault(str(name), build)
    for name, origin in mapping(environment.get("installed_from")).items():
        about = mapping(origin)
        mark = about.get("commit") or next(iter(mapping(about.get("hashes")).values()), None)
        if mark and not about.get("editable"):  # an editable one is code of the project: its functions are compared
            found[str(name)] = f"{found.get(str(name), '?')} ({str(mark)[:12]})"
    return found


def _files(value: object) -> str:
    return ", ".join(str(one) for part in mapping(value).values() if isinstance(part, (list, tuple)) for one in part)


def _switches(environment: Values) -> Iterable[tuple[str, object]]:
    for framework, facts in mapping(environment.get("frameworks")).items():
        for name, value in mapping(facts).items():
            if name not in _NO_SWITCHES:
                yield f"{framework}.{name}", value


def interpreter_differences(a: Side, b: Side) -> list[Difference]:
    """Version and build of Python, what it stands on, and how it was started."""
    sides = (a.environment, b.environment)
    if not all("python" in of for of in sides):
        return []
    facts = [{name: of[name] for name in _INTERPRETER if name in of} for of in sides]
    if facts[0].get("python") == facts[1].get("python"):
        for of, environment in zip(facts, sides, strict=True):
            of["build"] = environment.get("build")
    for of, environment in zip(facts, sides, strict=True):
        flags = mapping(environment.get("flags"))
        of.update({f"flag {name}": flags[name] for name in flags if name not in _FLAGS_THAT_MEAN_NOTHING})
    pairs = differing(*facts)
    needs_both = ("system", "kernel")  # the first is taken beside, the other where the system tells it
    return [
        Difference("interpreter", name, given(x), given(y))
        for name, x, y in pairs
        if name not in needs_both or (name in facts[0] and name in facts[1])
    ]
