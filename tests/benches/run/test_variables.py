"""Which environment variables a run records: those that libraries read, and never a secret."""

from __future__ import annotations

import json

import pytest

from benches.run.variables import changing_times, recorded

RECORDED = {
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "CUBLASLT_WORKSPACE_SIZE": "32768",
    "CUDA_LAUNCH_BLOCKING": "1",
    "CUDNN_LOGINFO_DBG": "1",
    "MKL_NUM_THREADS": "4",
    "NVIDIA_TF32_OVERRIDE": "0",
    "OMP_NUM_THREADS": "",
    "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
    "TORCHINDUCTOR_MAX_AUTOTUNE": "1",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1",
    "TRITON_PTXAS_PATH": "/opt/ptxas",
}
LEFT_OUT = {
    "HOME": "/home/somebody",
    "HF_TOKEN": "abc",
    "NVIDIA_API_KEY": "abc",
    "TORCH_HUB_TOKEN": "abc",
    "TRITON_CACHE_PASSWORD": "abc",
    "TRITON_cache_secret": "abc",
    "CUDA_SOME_KEY": "abc",
    "TORCH_AUTHORIZATION": "abc",
    "TORCHINDUCTOR_REDIS_URL": "redis://user:abc@host:6379",
    "MYCUDA_X": "1",
}


def test_the_listed_ones_are_recorded_and_no_secret_is() -> None:
    assert recorded(RECORDED | LEFT_OUT) == RECORDED
    assert list(recorded(dict(reversed(RECORDED.items())))) == sorted(RECORDED)
    assert "abc" not in json.dumps(recorded(RECORDED | LEFT_OUT))


def test_a_value_that_is_no_text_can_be_written() -> None:
    found = recorded({"CUDA_CACHE_PATH": b"/tmp/\xff".decode("utf-8", "surrogateescape")})
    assert found == {"CUDA_CACHE_PATH": "/tmp/\\udcff"}
    assert json.dumps(found, ensure_ascii=False).encode("utf-8")


@pytest.mark.parametrize(
    "name",
    ["CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "TRITON_CACHE_DIR", "TORCH_LOGS", "TORCHELASTIC_RUN_ID", "TORCHINDUCTOR_COMPILE_THREADS"],
)
def test_what_changes_no_time_is_recorded_but_no_difference(name: str) -> None:
    assert recorded({name: "x"}) == {name: "x"}
    assert changing_times({name: "x"}) == {}


def test_any_other_recorded_variable_may_change_a_time() -> None:
    assert changing_times(RECORDED) == RECORDED
