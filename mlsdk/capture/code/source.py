"""Where the running code comes from: the project's modules, the main module, notebook cells, the functions in memory.

All of it is looked up in the caller before the body, and cheaply: what the sources say is found out beside, by
`mlsdk.capture.functions.reachable`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import FrameType, FunctionType, ModuleType
from typing import Any

from mlsdk.capture import Context
from mlsdk.capture.code.loaded import Loaded, module_named, module_of, names_in
from mlsdk.capture.code.plain import ids_of
from mlsdk.capture.facts import ByName

_LONGEST_BYTES = 10_000_000
_MOST_KNOWN = 100
_MOST_BROUGHT = 100
"""Objects in arguments that are looked at for code."""
_CONTAINERS = ids_of(dict, list, tuple, set, frozenset)
_SIMPLE = ids_of(type(None), bool, int, float, complex, str, bytes, FunctionType)

_modules: dict[str, str] = {}
_looked_at: tuple[int, object] = (0, None)
"""When `_modules` was made: how many modules were loaded, and the last of them."""
_program: dict[str, object] = {}
"""What the command line said, which does not change."""
_known: dict[tuple[int, ...], tuple[list[Any], list[str], Loaded]] = {}


def capture(where: Context) -> Mapping[str, object]:
    """Facts `modules`, `main`, `cells`, `roots`, `loaded`, `bound`, `constants`, `compiled_by`.

    - `modules`: absolute file by name, of each loaded module that is of no installed distribution.
    - `main`: `how` it came to be (script, module, command, stdin, interactive, notebook, worker), its `file`, or its
      `source` where no file has it, or why it is `missing`.
    - `cells`: texts of a notebook's cells in the order in which they ran.
    - `roots`: "module:qualified.name" of the tracked function and of what its arguments bring; without one, of
      `__main__`.
    - `loaded`: digests of the code in memory of the functions that may be reached, by name; `bound`: by place, what is
      found there under another name.
    - `constants`: values of the globals and closures that these functions read.
    - `compiled_by`: version and optimisation of the compiler: digests of code mean nothing to another.
    """
    modules = project_modules()
    found: dict[str, Any] = {"modules": ByName(modules), "main": main_module(), "compiled_by": compiler()}
    cells = notebook_cells()
    if cells:
        found["cells"] = cells
    roots, loaded = _functions(where, modules)
    found.update(
        roots=roots, loaded=ByName(loaded.functions), bound=ByName(loaded.bound), constants=dict(loaded.values)
    )
    return found


def later(_: Context, already: Mapping[str, object]) -> Mapping[str, object]:
    """What came during the run: modules imported and cells run since; empty if nothing has.

    Args:
        already: what `capture` found.
    """
    found: dict[str, object] = {}
    modules = project_modules()
    if modules != already.get("modules"):
        found["modules"] = modules
    cells = notebook_cells()
    if cells and cells != already.get("cells"):
        found["cells"] = cells
    return found


def compiler() -> str:
    """What compiled the code of this process: `cpython-311.opt-0`."""
    return f"{sys.implementation.cache_tag}.opt-{sys.flags.optimize}"


# Modules


def project_modules() -> dict[str, str]:
    """The loaded modules that belong neither to Python nor to an installed distribution, by name: their files.

    mlsdk's own never count, also where they lie beside the program, as in a clone: they make no result.
    """
    global _modules, _looked_at
    loaded = sys.modules
    last = next(reversed(loaded))
    count, module = _looked_at
    if len(loaded) != count or loaded[last] is not module:
        _modules = _classified(tuple(loaded.items()), count, module)
        _looked_at = len(loaded), loaded[last]
    return _modules


def _classified(loaded: tuple[tuple[str, object], ...], count: int, last: object) -> dict[str, str]:
    """`_modules` with those that came since the last time, when `last` was the last: new ones stand at the end."""
    found = dict(_modules)
    new: list[tuple[str, object]] = []
    for name, module in reversed(loaded):
        if module is last:
            break
        new.append((name, module))
    if count + len(new) != len(loaded):  # some have gone
        found.clear()
        new = [*loaded]
    for name, module in new:
        if type(name) is not str or name.partition(".")[0] == "mlsdk":  # `sys.modules` takes any key
            continue
        if type(module) is ModuleType:
            path = module.__dict__.get("__file__")
        elif issubclass(type(module), ModuleType):  # past what a lazy module does when it is asked for an attribute
            path = object.__getattribute__(module, "__dict__").get("__file__")
        else:
            continue
        if type(path) is str and path[:1] != "<" and not is_installed(path) and name not in sys.stdlib_module_names:
            path = os.path.abspath(path)
            if not is_installed(path):
                found["__main__" if name == "__mp_main__" else name] = path
    return found


_STANDARD = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
_PROGRAMS = os.path.join(sys.prefix, "Scripts" if os.name == "nt" else "bin") + os.sep
_SITE, _DIST = f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}"


def is_installed(path: str) -> bool:
    """Whether a file belongs to Python or to an installed distribution, by where it lies."""
    return _SITE in path or path.startswith((_STANDARD, _PROGRAMS)) or _DIST in path


# The main module


def main_module() -> dict[str, object]:
    """How `__main__` came to be, and its source where no file has it."""
    main: Any = sys.modules.get("__main__")
    names: dict[str, Any] = getattr(main, "__dict__", {})
    path, spec = names.get("__file__"), names.get("__spec__")
    if "In" in names and "get_ipython" in names:
        book = names.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME")
        return {"how": "notebook", **({"file": str(book)} if book else {})}
    is_prompt = getattr(spec, "name", "") == "_pyrepl.__main__"
    if isinstance(path, str) and path != "<stdin>" and not is_prompt:
        if names.get("__name__") == "__mp_main__":  # in `sys.modules` every main module has this name too
            return {"how": "worker", "file": os.path.abspath(path)}
        name = getattr(spec, "name", None)
        return {
            "how": "module" if name else "script",
            "file": os.path.abspath(path),
            **({"name": name} if name else {}),
        }
    if not _program:
        _program.update(_from_command_line(sys.orig_argv[1:]))
    return _program


def _from_command_line(arguments: list[str]) -> dict[str, object]:
    """What a command line means that names no file."""
    while arguments:
        option, *arguments = arguments
        if not option.startswith("-"):  # a program that has put something else in the place of `__main__`
            return {"how": "script", "file": os.path.abspath(option)}
        if option == "-":
            break
        if option.startswith("--"):
            arguments = arguments[option == "--check-hash-based-pycs" :]
            continue
        for place, letter in enumerate(option[1:], 2):
            if letter == "c":
                source = option[place:] or " ".join(arguments[:1])
                if source.startswith(("from multiprocessing.", "import sys; from multiprocessing.")):
                    return {"how": "worker", "missing": "the process that started this worker has no main file"}
                return {"how": "command", "source": source}
            if letter == "m":
                return {"how": "module", "name": option[place:] or " ".join(arguments[:1])}
            if letter in "WX":
                arguments = arguments[not option[place:] :]
                break
    if hasattr(sys, "ps1") or sys.flags.interactive:
        if sys.version_info >= (3, 13):
            return {"how": "interactive"}
        return {"how": "interactive", "missing": "before version 3.13 Python does not keep what is typed"}
    return {"how": "stdin", **_standard_input()}


def _standard_input() -> dict[str, object]:
    """The program that is read from the standard input, without moving on in it."""
    try:
        size = os.fstat(0).st_size
        if hasattr(os, "pread") and os.path.isfile("/dev/stdin"):
            data = os.pread(0, min(size, _LONGEST_BYTES), 0)
            return {"source": data.decode("utf-8", "surrogateescape")}
    except OSError as error:
        return {"missing": f"the standard input cannot be read again: {error}"}
    return {"missing": "the program came through a pipe, which cannot be read twice"}


def notebook_cells() -> list[str]:
    """The cells that ran, or what was typed at a prompt, in order, up to the one that runs now."""
    names: dict[str, Any] = getattr(sys.modules.get("__main__"), "__dict__", {})
    cells = names.get("In")
    if isinstance(cells, list) and "get_ipython" in names:
        return [cell for cell in cells if isinstance(cell, str) and cell]
    if not hasattr(sys, "ps1") or "linecache" not in sys.modules:
        return []
    typed = {}
    for name, entry in tuple(sys.modules["linecache"].cache.items()):
        if str(name).startswith("<python-input-") and len(entry) == 4:
            typed[int(str(name)[14:].rstrip(">"))] = "".join(entry[2])
    return [typed[number] for number in sorted(typed)]


# Functions


def _functions(where: Context, modules: Mapping[str, str]) -> tuple[list[str], Loaded]:
    """The roots and what they reach in memory; from the last run of the process if nothing has changed."""
    function = where.function
    starts = _running() if function is None else [function, *_brought(where.arguments)]
    names = 0 if function is not None else len(getattr(sys.modules.get("__main__"), "__dict__", ()))
    key = (len(modules), names, *map(id, starts))
    known = _known.get(key)
    if known is not None and known[2].still_holds():
        return known[1], known[2]
    main = main_module()
    # Otherwise an installed program runs the project's code.
    is_ours = "__main__" in modules or "file" not in main or main["how"] == "notebook"
    loaded = Loaded({**modules, "__main__": ""} if is_ours else modules)
    roots = _add_main(loaded, starts) if function is None else _add_function(loaded, starts)
    if len(_known) >= _MOST_KNOWN:  # functions made anew for each run
        _known.clear()
    _known[key] = (starts, roots, loaded)  # what is kept does not give its id to another
    return roots, loaded


def _add_function(loaded: Loaded, starts: list[Any]) -> list[str]:
    for value in starts:
        loaded.add(value, "call:")
    first, *others = loaded.bound.pop("call:", None) or [""]
    roots = [_named(first, starts[0]), *others] if first else []
    for value in starts[1:]:
        if type(value) is FunctionType and value.__code__.co_name == "<lambda>":  # in no piece: what it uses is a root
            module, known = module_named(value.__globals__.get("__name__")), value.__globals__.keys()
            roots += [f"{module}:{name}" for name in sorted(names_in(value.__code__) & known)]
    return list(dict.fromkeys(roots))


def _brought(arguments: Mapping[str, object]) -> list[Any]:
    """The code of arguments and of what lies in them: in containers, and in attributes of objects."""
    found: dict[int, Any] = {}
    waiting = [*arguments.values()]
    for value in waiting:  # grows meanwhile
        code = _code_of(value)
        if code is not None:
            found[id(code)] = code
        if len(waiting) < _MOST_BROUGHT and id(type(value)) not in _SIMPLE:
            waiting += _inside(value)
    return [*found.values()]


def _inside(value: Any) -> tuple[object, ...]:
    kind = type(value)
    if id(kind) not in _CONTAINERS:
        if issubclass(kind, (type, ModuleType)):
            return ()
        try:
            value, kind = object.__getattribute__(value, "__dict__"), dict
        except Exception:  # it has none, or is an odd object
            return ()
    if len(value) > _MOST_BROUGHT:
        return ()
    try:
        return tuple(value.values() if kind is dict else value)
    except Exception:  # another thread changes it
        return ()


def _code_of(value: Any) -> object:
    """The project's code that an argument may bring along: a function, a class; of an object its class alone."""
    kind = type(value)
    if kind is FunctionType or issubclass(kind, type):
        return value
    module = module_of(kind)
    if module == "functools" and kind.__name__ == "partial":
        return _code_of(value.func)
    return kind if module == "__main__" or module in _modules else None


def _named(root: str, function: object) -> str:
    """The name that a tracked lambda was given."""
    module, _, name = root.partition(":")
    if name == "<lambda>":
        for given, value in tuple(getattr(sys.modules.get(module), "__dict__", {}).items()):
            if type(value) is FunctionType and (value is function or value.__dict__.get("__wrapped__") is function):
                return f"{module}:{given}"
    return root


def _running() -> list[Any]:
    """Without a tracked function: the code of the function that starts the run, and of the body of `__main__`."""
    main = getattr(sys.modules.get("__main__"), "__dict__", None)
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # `inspect` takes milliseconds to import
    while frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == "mlsdk":
        frame = frame.f_back
    found = [] if frame is None else [(frame.f_code, frame.f_globals)]
    while frame is not None:
        if frame.f_globals is main and frame.f_code.co_name == "<module>" and frame.f_code is not found[0][0]:
            found.append((frame.f_code, frame.f_globals))
        frame = frame.f_back
    return [part for pair in found for part in pair]


def _add_main(loaded: Loaded, starts: list[Any]) -> list[str]:
    roots = ["__main__:<module>"] if "__main__" in loaded.modules else []
    for code, namespace in zip(starts[::2], starts[1::2], strict=True):
        roots += filter(None, (loaded.add_code(code, namespace),))
    for name, value in tuple(getattr(sys.modules.get("__main__"), "__dict__", {}).items()):
        if issubclass(type(value), (type, FunctionType)):
            loaded.add(value, f"__main__:{name}")
    return list(dict.fromkeys(roots))
