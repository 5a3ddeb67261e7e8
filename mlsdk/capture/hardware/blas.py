"""The libraries that calculate: BLAS, LAPACK and OpenMP, with their thread counts and the kernels they chose.

Asked are libraries that the process has loaded already, through `ctypes`, which numpy brings along. threadpoolctl does
the same and more, at ten times the time (10 ms for the first look at a process with torch): too much before a run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from mlsdk.capture import Context
from mlsdk.log.standins import in_use

_CALCULATING = ("numpy", "scipy", "torch", "sklearn", "jax", "tensorflow", "xgboost", "lightgbm", "faiss", "numexpr")
_MARKS = (b"blas", b"mkl_rt", b"gomp", b"libomp", b"iomp", b"blis")

_AFFIXES = [(prefix, suffix) for prefix in ("scipy_", "") for suffix in ("", "64_", "_64")]
"""Builds with 64-bit indices, and those of numpy and scipy, have other names for the same functions."""

_BLIS_VERSION, _BLIS_THREADS = "bli_info_get_version_str", "bli_thread_get_num_threads"

Threads = Callable[[], int]

_known: dict[str, tuple[dict[str, object], Threads | None]] = {}
"""By path: what cannot change about a library, and how to ask for its threads."""

_seen: tuple[object, ...] = ()
_loaded: list[str] = []


def capture(_: Context) -> Mapping[str, object] | None:
    """Facts `blas` (name of the first BLAS), `blas_kernel`, `blas_threads`, `libraries`, `torch`; or None.

    `libraries` is a list of mappings: `kind` (`blas`, `openmp`), `name` (`openblas`, `mkl`, `blis`, `gomp`, `omp`,
    `iomp`, else that of the file), `file`, `version`, `threads` (at most, in the calling thread), `kernel` (the type of
    processor that OpenBLAS chose its code for). `torch` tells of what torch carries within itself: `blas`, `mkl`,
    `onednn`, `kernel`, `threads`.

    The list is made anew when a calculating package was imported since; the numbers of threads are asked for each time.
    """
    global _seen, _loaded
    present = tuple(name for name in _CALCULATING if in_use(name) is not None)
    if not present or "ctypes" not in sys.modules:
        return None
    now = (*present, "scipy.linalg" in sys.modules)
    if now != _seen:
        _loaded = [path for path in loaded() if _is_known(path)]
        _seen = now
    found: dict[str, object] = {}
    libraries = [_with_threads(*_known[path]) for path in _loaded]
    if "torch" in present:
        found["torch"] = _with_threads(*_torch())
    of_blas = sorted((one for one in libraries if one["kind"] == "blas"), key=lambda one: "threads" not in one)
    blas = of_blas[0] if of_blas else None
    if blas is not None:
        found.update(blas=blas["name"], blas_kernel=blas.get("kernel"), blas_threads=blas.get("threads"))
    return {**{name: value for name, value in found.items() if value}, "libraries": libraries}


def loaded() -> list[str]:
    """Files of the calculating libraries that this process has loaded; [] where the platform does not tell."""
    if sys.platform.startswith(("linux", "freebsd")):
        return _of_elf()
    return _of_mach() if sys.platform == "darwin" else []


def _of_elf() -> list[str]:
    """By `dl_iterate_phdr`: 80 µs where reading `/proc/self/maps` takes 2 ms."""
    import ctypes

    class Info(ctypes.Structure):
        _fields_ = (("address", ctypes.c_size_t), ("name", ctypes.c_char_p))

    found: list[str] = []

    def each(info: Any, _size: int, _data: Any) -> int:
        name = info.contents.name
        if name and _is_marked(name):
            found.append(os.fsdecode(name))
        return 0

    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Info), ctypes.c_size_t, ctypes.c_void_p)
    ctypes.CDLL(None).dl_iterate_phdr(callback(each), None)
    return found


def _of_mach() -> list[str]:
    import ctypes

    system = ctypes.CDLL(None)
    system._dyld_get_image_name.restype = ctypes.c_char_p  # noqa: SLF001 (its name in dyld(3))
    images = map(system._dyld_get_image_name, range(system._dyld_image_count()))  # noqa: SLF001
    return [os.fsdecode(name) for name in images if name and _is_marked(name)]


def _is_marked(path: bytes) -> bool:
    """By its name; extension modules such as scipy's `_fblas` only show the functions of what they are linked with."""
    file = path.rpartition(b"/")[2]
    return file.startswith(b"lib") and any(mark in file for mark in _MARKS)


def _is_known(path: str) -> bool:
    """Ask a library what it is, once; whether it is one that calculates."""
    if path not in _known:
        import ctypes

        try:
            # Only if it is there: nothing is ever loaded by looking.
            library = ctypes.CDLL(path, mode=getattr(os, "RTLD_NOLOAD", 0))
        except OSError:
            return False
        file = os.path.basename(path)
        found = _openblas(library) or _mkl(library) or _blis(library) or _openmp(library, file)
        # What it is else, the reference BLAS or CUDA's, only its name tells.
        facts, threads = found or (_facts("blas", file.removeprefix("lib").partition(".")[0], None, None), None)
        _known[path] = ({**facts, "file": os.path.realpath(path)}, threads)
    return True


def _openblas(library: Any) -> tuple[dict[str, object], Threads] | None:
    for prefix, suffix in _AFFIXES:
        threads = getattr(library, f"{prefix}openblas_get_num_threads{suffix}", None)
        if threads is not None:
            config = _string(getattr(library, f"{prefix}openblas_get_config{suffix}", None)).split()
            kernel = _string(getattr(library, f"{prefix}openblas_get_corename{suffix}", None))
            version = config[1] if config[:1] == ["OpenBLAS"] and len(config) > 1 else None
            return _facts("blas", "openblas", version, kernel), threads
    return None


def _mkl(library: Any) -> tuple[dict[str, object], Threads] | None:
    threads = getattr(library, "MKL_Get_Max_Threads", None)
    if threads is None:
        return None
    import ctypes

    buffer = ctypes.create_string_buffer(200)
    if hasattr(library, "mkl_get_version_string"):
        library.mkl_get_version_string(buffer, 200)
    _, _, version = buffer.value.decode("utf-8", "replace").partition("Version ")
    return _facts("blas", "mkl", version.partition("-")[0], None), threads


def _blis(library: Any) -> tuple[dict[str, object], Threads] | None:
    threads = getattr(library, _BLIS_THREADS, None)
    if threads is None:
        return None
    return _facts("blas", "blis", _string(getattr(library, _BLIS_VERSION, None)), None), threads


def _openmp(library: Any, file: str) -> tuple[dict[str, object], Threads] | None:
    threads = getattr(library, "omp_get_max_threads", None)
    if threads is None:
        return None
    name = next((name for name in ("gomp", "iomp", "omp") if f"lib{name}" in file), "openmp")
    return _facts("openmp", name, None, None), threads


def _torch() -> tuple[dict[str, object], Threads | None]:
    """What torch was built with: it carries its BLAS within itself, where no library shows it."""
    if "torch" not in _known:
        torch: Any = sys.modules["torch"]
        config = torch.__config__.show()
        capability = getattr(getattr(torch.backends, "cpu", None), "get_cpu_capability", str)()
        found = {
            "blas": _after(config, "BLAS_INFO="),
            "mkl": _after(config, "Math Kernel Library Version ").partition("-")[0],
            "onednn": _after(config, "MKL-DNN v"),
            "kernel": str(capability),
        }
        _known["torch"] = ({name: value for name, value in found.items() if value}, torch.get_num_threads)
    return _known["torch"]


def _after(text: str, mark: str) -> str:
    """The word after a mark; empty if there is none."""
    return text.partition(mark)[2].partition("\n")[0].partition(" ")[0].rstrip(",")


def _facts(kind: str, name: str, version: str | None, kernel: str | None) -> dict[str, object]:
    known = {"kind": kind, "name": name, "version": version, "kernel": kernel}
    return {key: value for key, value in known.items() if value}


def _with_threads(facts: dict[str, object], threads: Threads | None) -> dict[str, object]:
    return facts if threads is None else {**facts, "threads": threads()}


def _string(function: Any) -> str:
    """What a C function without arguments answers as text."""
    if function is None:
        return ""
    import ctypes

    function.restype = ctypes.c_char_p
    value = function()
    return value.decode("utf-8", "replace") if value else ""
