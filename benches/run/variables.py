"""The environment variables that libraries under a benchmark read: which are recorded, and which of them can change a time. Pure."""

from __future__ import annotations

from collections.abc import Mapping

# Of cuBLAS and cuBLASLt, CUDA, cuDNN, OpenMP (GNU's and Intel's), MKL, PyTorch with Inductor, and Triton.
PREFIXES = ("CUBLAS", "CUDA_", "CUDNN_", "GOMP_", "KMP_", "MKL_", "OMP_", "PYTORCH_", "TORCH", "TRITON_")
NAMES = ("NVIDIA_TF32_OVERRIDE",)
SECRET = ("AUTH", "CREDENTIAL", "KEY", "PASSWD", "PASSWORD", "SECRET", "TOKEN")  # in a name: its value is nobody else's business
# Recorded, but no reason to doubt a comparison: places, logs, what builds extensions, and what is recorded in another way.
NEUTRAL = (
    *("CUDA_CACHE_PATH", "CUDA_HOME", "CUDA_PATH", "CUDA_VERSION", "TORCH_CUDA_ARCH_LIST", "TORCH_EXTENSIONS_DIR", "TORCH_HOME"),
    *("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "TRITON_DUMP_DIR", "TRITON_HOME", "TRITON_OVERRIDE_DIR"),
    *("TORCH_LOGS", "TORCH_LOGS_OUT"),
    *("CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES"),  # the board is known by its UUID
    "CUDA_MODULE_LOADING",  # torch sets it when it opens a device
    "TORCHINDUCTOR_COMPILE_THREADS",  # how long compiling takes, and nothing after it
)
NEUTRAL_PREFIXES = ("TORCHELASTIC_",)  # a launcher's ids


def recorded(environ: Mapping[str, str]) -> dict[str, str]:
    """Those that environment.json holds, by name: of the lists above, never one that may hold a secret."""
    return {name: printable(environ[name]) for name in sorted(environ) if listed(name) and not secret(name, environ[name])}


def listed(name: str) -> bool:
    return name in NAMES or name.startswith(PREFIXES)


def secret(name: str, value: str) -> bool:
    """Whether the name speaks of a secret, or the value is an address, which may hold a password."""
    return any(part in name.upper() for part in SECRET) or "://" in value


def printable(value: str) -> str:
    """The value as UTF-8 can hold it: a byte that is not text is written as \\udc80 and the like."""
    return value.encode("utf-8", "backslashreplace").decode()


def changing_times(variables: Mapping[str, str]) -> dict[str, str]:
    """Those of a run's recorded variables that make it another run, where they differ."""
    return {name: value for name, value in variables.items() if name not in NEUTRAL and not name.startswith(NEUTRAL_PREFIXES)}
