"""Environment variables: by value where a list allows it, all others by a keyed digest.

A variable that is not on the list is known by a digest that only the store's key can make: that it changed is seen,
what it holds is not. A name that promises a secret is never on the list, whoever puts it there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from mlsdk import config
from mlsdk.capture import Context
from mlsdk.capture.facts import ByName
from mlsdk.capture.secrets.redaction import is_secret_name, redact_value


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


ALLOWED = _names(
    "LANG LANGUAGE LC_ALL LC_CTYPE LC_NUMERIC LC_TIME LC_COLLATE TZ PATH LD_LIBRARY_PATH LD_PRELOAD DYLD_LIBRARY_PATH"
    " SOURCE_DATE_EPOCH VIRTUAL_ENV CONDA_PREFIX CONDA_DEFAULT_ENV CONDA_SHLVL RAYON_NUM_THREADS SKLEARN_ASSUME_FINITE"
    " RANK LOCAL_RANK GROUP_RANK ROLE_RANK ROLE_NAME NODE_RANK WORLD_SIZE LOCAL_WORLD_SIZE GROUP_WORLD_SIZE"
    " ROLE_WORLD_SIZE MASTER_ADDR MASTER_PORT PMI_RANK PMI_SIZE PMI_LOCAL_RANK PMI_LOCAL_SIZE MPI_LOCALRANKID"
    " MPI_LOCALNRANKS PBS_JOBID PBS_JOBNAME PBS_QUEUE LSB_JOBID LSB_JOBNAME LSB_QUEUE RAY_JOB_ID"
    " KUBERNETES_SERVICE_HOST POD_NAME POD_NAMESPACE NODE_NAME JOB_COMPLETION_INDEX"
    " NVIDIA_VISIBLE_DEVICES NVIDIA_DRIVER_CAPABILITIES NVIDIA_TF32_OVERRIDE"
    " HIP_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES HSA_OVERRIDE_GFX_VERSION ZE_AFFINITY_MASK"
    " HF_HOME HF_HUB_CACHE HF_HUB_OFFLINE HF_DATASETS_CACHE HF_DATASETS_OFFLINE HF_ENDPOINT HF_HUB_ENABLE_HF_TRANSFER"
    " TRANSFORMERS_CACHE TRANSFORMERS_OFFLINE TOKENIZERS_PARALLELISM POLARS_MAX_THREADS TF_CONFIG"
    " APPTAINER_CONTAINER APPTAINER_NAME SINGULARITY_CONTAINER SINGULARITY_NAME container"
)
"""Names whose values matter to a result and hold no secret."""

PREFIXES = _names(
    "PYTHON OMP_ GOMP_ KMP_ MKL_ OPENBLAS_ BLIS_ NUMEXPR_ VECLIB_ NUMBA_ ARROW_ MALLOC_ CUDA_ CUBLAS_ CUDNN_ CUPY_"
    " NCCL_ GLOO_ UCX_ TORCH_ TORCHELASTIC_ TORCHINDUCTOR_ PYTORCH_ TRITON_ XLA_ JAX_ KERAS_ MIOPEN_"
    " TF_CPP_ TF_CUDNN_ TF_DATA_ TF_DETERMINISTIC_ TF_DISABLE_ TF_ENABLE_ TF_FORCE_ TF_GPU_ TF_NUM_ TF_USE_ TF_XLA_"
    " SLURM_ OMPI_COMM_WORLD_ MLSDK_"
)
"""Families of such names. Not all of `TF_` (Terraform keeps secrets there), nor of `LC_` (ssh passes anything so)."""

_NOT_BY_FAMILY = ("token", "secret", "pass", "cred", "key", "auth", "jwt", "cookie")
"""A name with one of these in it is recorded by value only where the whole name is allowed."""

_OWN = ("MLSDK_INHERITED_RUN",)
"""What mlsdk itself hands down to child processes: another in each run, and no fact about it."""

DIGITS = 16

_last: tuple[object, Mapping[str, object]] = (None, {})


def capture(where: Context) -> Mapping[str, object]:
    """The environment of this process; the same object as long as nothing has changed.

    Facts:
        variables: value by name, of those that the list allows.
        variable_hashes: 16 hexadecimal digits by name, of all others; they can be compared within one store.
    """
    global _last
    key = (snapshot(), where.root, _further())
    if _last[0] != key:
        environment = {name: value for name, value in os.environ.items() if name not in _OWN}
        _last = (key, _sorted_out(environment, where.root, _further()))
    return _last[1]


def snapshot() -> dict[object, object]:
    """A copy of the environment to be compared with another, not to be read.

    The dictionary under `os.environ` is copied in a microsecond; asking each variable through it takes fifty.
    """
    copied: dict[object, object] = {}
    copied.update(getattr(os.environ, "_data", os.environ))
    for name in _OWN:
        copied.pop(name, None)
        copied.pop(name.encode(), None)
    return copied


def _further() -> str:
    return config.text("environment") or ""


def allowed(name: str, further: str = "") -> bool:
    """Whether a variable may be recorded by value.

    Args:
        name: of the variable.
        further: names allowed besides, by commas; `*` at an end stands for anything.

    Example:
        >>> allowed("OMP_NUM_THREADS"), allowed("HOME"), allowed("SLURM_JWT"), allowed("MY_SEED", "MY_*")
        (True, False, False, True)
    """
    if is_secret_name(name):
        return False
    wanted = [one.strip() for one in further.split(",")]
    if name in ALLOWED or name in wanted:
        return True
    families = (*PREFIXES, *(one[:-1] for one in wanted if len(one) > 1 and one[-1] == "*"))
    return name.startswith(families) and not any(sign in name.lower() for sign in _NOT_BY_FAMILY)


def _sorted_out(environment: Mapping[str, str], root: str | None, further: str) -> dict[str, object]:
    from mlsdk.capture.secrets.keyed import keyed_digest

    shown = ByName()  # redacted here, by name
    hidden = ByName()
    for name, value in sorted(environment.items()):
        if allowed(name, further):
            shown[name] = redact_value(name, value)
        else:
            data = f"{name}={value}".encode("utf-8", "surrogateescape")
            hidden[name] = keyed_digest(root, data)[:DIGITS]
    return {"variables": shown, "variable_hashes": hidden}
