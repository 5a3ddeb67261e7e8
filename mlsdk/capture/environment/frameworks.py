"""The frameworks that are loaded: versions, determinism switches, thread counts. Nothing is imported or initialised."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mlsdk.capture import Context
from mlsdk.log.standins import in_use

_Read = tuple[str, str]
"""Name of a fact and where to look: dotted names below the module; `()` at the end calls what is there."""

TORCH: tuple[_Read, ...] = (
    ("version", "__version__"),
    ("cuda", "version.cuda"),
    ("hip", "version.hip"),
    ("cudnn", "backends.cudnn.version()"),
    ("deterministic_algorithms", "are_deterministic_algorithms_enabled()"),
    ("deterministic_warn_only", "is_deterministic_algorithms_warn_only_enabled()"),
    ("cudnn_enabled", "backends.cudnn.enabled"),
    ("cudnn_deterministic", "backends.cudnn.deterministic"),
    ("cudnn_benchmark", "backends.cudnn.benchmark"),
    ("float32_matmul_precision", "get_float32_matmul_precision()"),
    ("cublas_tf32", "_C._get_cublas_allow_tf32()"),
    ("cudnn_tf32", "_C._get_cudnn_allow_tf32()"),
    ("fp16_reduction", "backends.cuda.matmul.allow_fp16_reduced_precision_reduction"),
    ("bf16_reduction", "backends.cuda.matmul.allow_bf16_reduced_precision_reduction"),
    ("flash_sdp", "_C._get_flash_sdp_enabled()"),
    ("memory_efficient_sdp", "_C._get_mem_efficient_sdp_enabled()"),
    ("fill_uninitialized_memory", "utils.deterministic.fill_uninitialized_memory"),
    ("default_dtype", "get_default_dtype()"),
    ("threads", "get_num_threads()"),
    ("interop_threads", "get_num_interop_threads()"),
)
"""https://docs.pytorch.org/docs/stable/notes/randomness.html and numerical_accuracy.html"""

JAX: tuple[_Read, ...] = (
    ("version", "__version__"),
    ("enable_x64", "config.jax_enable_x64"),
    ("default_matmul_precision", "config.jax_default_matmul_precision"),
    ("default_prng_impl", "config.jax_default_prng_impl"),
    ("threefry_partitionable", "config.jax_threefry_partitionable"),
    ("platforms", "config.jax_platforms"),
)
"""https://docs.jax.dev/en/latest/config_options.html"""

OTHERS: dict[str, tuple[_Read, ...]] = {
    "jaxlib": (("version", "__version__"),),
    "tensorflow": (("version", "__version__"),),
    "tensorflow.python.framework.config": (("deterministic_ops", "is_op_determinism_enabled()"),),
    "numpy": (("version", "__version__"),),
    "sklearn": (("version", "__version__"),),
}
"""By module. What stands under a module of tensorflow's is told of tensorflow."""

_last: Mapping[str, object] = {}


def capture(_: Context) -> Mapping[str, object] | None:
    """Fact `frameworks`: by name, of those loaded; `frameworks_missing` says what could not be read and why.

    What an older or newer version does not have is not among the facts. The same object as long as nothing has changed.
    """
    global _last
    loaded = {"torch": TORCH, "jax": JAX, **OTHERS}
    found: dict[str, dict[str, object]] = {}
    missing: dict[str, str] = {}
    for name, reads in loaded.items():
        module = in_use(name)
        if module is not None:
            framework = name.partition(".")[0]
            facts = found.setdefault(framework, {})
            for fact, place in reads:
                _read(module, place, f"{framework}.{fact}", fact, facts, missing)
    if not found:
        return None
    answer = {"frameworks": found, **({"frameworks_missing": missing} if missing else {})}
    if _last != answer:
        _last = answer
    return _last


def _read(module: object, place: str, name: str, fact: str, facts: dict[str, object], missing: dict[str, str]) -> None:
    try:
        value = _look(module, place)
    except AttributeError:  # this version does not have it
        return
    except Exception as error:  # another library's inside: what it refuses is noted
        missing[name] = f"{type(error).__name__}: {str(error)[:200]}"
        return
    facts[fact] = value if value is None or type(value) in (bool, int, float, str) else str(value)


def _look(module: object, place: str) -> Any:
    for part in place.split("."):
        module = getattr(module, part.removesuffix("()"))
    call: Callable[[], Any] | None = module if place.endswith("()") and callable(module) else None
    return call() if call else module
