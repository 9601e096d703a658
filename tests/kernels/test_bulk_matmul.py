"""The matmul kernels that copy tiles in bulk: right at ragged shapes, chosen by the option `kernel`, refused with a reason elsewhere."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch

from benches.correctness import check
from kernels.ahead_of_time import Finding, examine_all
from kernels.code_rules import unsupported
from kernels.gpus import load_gpu
from kernels.matmul import bulk, triton_impl
from kernels.matmul.configs import Config, bulk_configs, choose_bulk
from kernels.matmul.spec import BULK_KERNELS, OP
from kernels.op import Dims, Point
from kernels.support import Platform

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # without a GPU, in Triton's interpreter
H100 = load_gpu("h100_sxm5")
ON_H100 = Platform("cuda", (9, 0))
INTERPRETED = Platform("cpu", interpreted=True)


def point(kernel: str, precision: str, dims: Dims, **options: str) -> Point:
    return OP.point("triton", precision, dims, {"kernel": kernel, **options})


# Rows of A and B as stored are multiples of 16 bytes; everything else is ragged.
SHAPES: tuple[tuple[str, Dims, dict[str, str]], ...] = (
    ("bf16", {"m": 136, "n": 264, "k": 152}, {"layout": "nn"}),
    ("bf16", {"m": 127, "n": 131, "k": 136}, {"layout": "nt"}),
    ("bf16", {"m": 129, "n": 136, "k": 72}, {"layout": "nt"}),
    ("bf16", {"m": 136, "n": 264, "k": 151}, {"layout": "tn"}),
    ("bf16", {"m": 136, "n": 131, "k": 152}, {"layout": "tt"}),
    ("bf16", {"m": 1, "n": 1, "k": 8}, {"layout": "nt"}),
    ("fp16", {"m": 127, "n": 136, "k": 136}, {"layout": "nt", "operands": "sliced"}),
    ("tf32", {"m": 127, "n": 131, "k": 132}, {"layout": "nt"}),
    ("fp8_e4m3", {"m": 127, "n": 131, "k": 144}, {"layout": "nt"}),
    ("fp8_e4m3", {"m": 127, "n": 131, "k": 272}, {"layout": "nt", "scaling": "row", "accumulation": "slow"}),
    ("fp8_e5m2", {"m": 1, "n": 67, "k": 144}, {"layout": "nt", "scaling": "row"}),
    ("bf16", {"b": 3, "m": 67, "n": 71, "k": 40}, {"layout": "nt", "rhs": "shared"}),
    ("bf16", {"b1": 3, "b2": 2, "m": 128, "n": 128, "k": 64}, {"layout": "nt", "operands": "sliced"}),
    ("fp8_e4m3", {"b": 2, "m": 128, "n": 128, "k": 128}, {"layout": "nt", "scaling": "row"}),
    ("bf16", {"b": 2, "m": 128, "n": 128, "k": 64}, {"layout": "tn", "rhs": "shared"}),
    ("fp8_e4m3", {"m": 127, "n": 131, "k": 272}, {"layout": "nt", "scaling": "block"}),
    ("fp8_e5m2", {"b": 2, "m": 128, "n": 256, "k": 256}, {"layout": "nt", "scaling": "block"}),
    ("fp8_e4m3", {"b": 2, "m": 128, "n": 128, "k": 256}, {"layout": "nt", "scaling": "block", "rhs": "shared"}),
)
BATCHES: tuple[tuple[str, Dims, dict[str, str]], ...] = (
    ("bf16", {"b": 3, "m": 67, "n": 71, "k": 40}, {"layout": "nt"}),
    ("bf16", {"b": 3, "m": 72, "n": 136, "k": 37}, {"layout": "tn"}),
    ("bf16", {"b": 3, "m": 72, "n": 72, "k": 37}, {"layout": "tn", "rhs": "shared"}),
)


def is_right(p: Point, config: Config | None = None) -> str:
    """Fails where the result is not within tolerance. Returns the config that ran; config: instead of the one that the point asks for."""
    inputs = triton_impl.make_inputs(p, DEVICE, 3)
    with pytest.MonkeyPatch.context() as patched:
        if config:
            patched.setattr(bulk, "choice_of", lambda *_: (config, "rule"))
        kernel = triton_impl.build(p, inputs)
    verdict = check(OP, p, kernel, inputs)
    assert verdict.ok, f"{p.id} {kernel.config}: {verdict.problem}"
    return str(kernel.config)


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "dims", "options"), SHAPES)
@pytest.mark.parametrize("kernel", BULK_KERNELS)
def test_ragged_shapes(kernel: str, precision: str, dims: Dims, options: dict[str, str]) -> None:
    p = point(kernel, precision, dims, **options)
    assert OP.impls["triton"].unsupported(p, INTERPRETED) is None
    assert is_right(p).startswith(kernel)


@pytest.mark.parametrize(("precision", "dims", "options"), BATCHES)
def test_ragged_batches(precision: str, dims: Dims, options: dict[str, str]) -> None:
    assert is_right(point("tma", precision, dims, **options)).startswith("tma")
    p = point("warp_specialized", precision, dims, **options)
    assert "cuts a batch into whole tiles: m must be a multiple of 128" in str(OP.impls["triton"].unsupported(p, ON_H100))


@pytest.mark.slow
@pytest.mark.parametrize("config", [config for kernel in BULK_KERNELS for config in bulk_configs(kernel, "bf16")], ids=str)
def test_every_config(config: Config) -> None:
    p = point(config.kernel, "bf16", {"m": 257, "n": 264, "k": 72}, layout="nt")
    assert is_right(p, config) == str(config)


@pytest.mark.slow
@pytest.mark.parametrize("config", [config for kernel in BULK_KERNELS for config in bulk_configs(kernel, "fp8_e4m3", small=True)], ids=str)
def test_block_scales_with_every_config(config: Config) -> None:
    p = point(config.kernel, "fp8_e4m3", {"m": 257, "n": 264, "k": 272}, layout="nt", scaling="block")
    assert is_right(p, config) == str(config)


@pytest.mark.parametrize(
    ("version", "kernel", "capability", "lacks"),
    [
        ("3.6.0", "warp_specialized", (10, 0), True),
        ("3.7.1", "warp_specialized", (10, 0), False),
        ("3.10.0+git", "warp_specialized", (10, 0), False),
        ("3.6.0", "warp_specialized", (9, 0), False),
        ("3.6.0", "tma", (10, 0), False),
    ],
)
def test_what_an_older_triton_cannot_compile(
    version: str, kernel: str, capability: tuple[int, int], lacks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk.triton, "__version__", version)
    why = bulk.not_compiled(bulk_configs(kernel, "bf16")[-1], Platform("cuda", capability))
    assert why.startswith(f"Triton {version} cannot compile kernel warp_specialized") is lacks
    assert bool(why) is lacks


NARROW = bulk_configs("warp_specialized", "fp8_e4m3", True, (10, 0), addresses=True)[0]


@pytest.mark.slow
@pytest.mark.parametrize(("n", "scaling"), [(208, "block"), (131, "tensor")])
def test_the_narrow_tile_of_blackwell(n: int, scaling: str) -> None:
    """Two of its tiles share a block of B's scales; a result that is stored through pointers."""
    p = point("warp_specialized", "fp8_e4m3", {"m": 129, "n": n, "k": 272}, layout="nt", scaling=scaling)
    assert is_right(p, NARROW) == "warp_specialized 128x64x128 w4 s4"


@pytest.mark.parametrize("kernel", BULK_KERNELS)
def test_what_is_checked_on_a_cpu_is_supported_and_small(kernel: str) -> None:
    """The interpreter runs a small shape of each point: one that this kernel takes as well."""
    for precision, dims, options in SHAPES:
        large = point(kernel, precision, {name: size * 16 for name, size in dims.items()}, **options)
        small = OP.shrink(large)
        assert OP.impls["triton"].unsupported(small, INTERPRETED) is None, small.id
        assert all(small.dims[name] <= 256 for name in small.dims)


FULL = {"m": 512, "n": 512, "k": 512}


@pytest.mark.parametrize(
    ("kernel", "precision", "dims", "options", "capability", "reason"),
    [
        ("tma", "bf16", {**FULL, "k": 137}, {"layout": "nt"}, (9, 0), "those of A as stored have 274"),
        ("tma", "bf16", {**FULL, "n": 129}, {"layout": "nn"}, (9, 0), "those of B as stored have 258"),
        ("tma", "bf16", {**FULL, "n": 129}, {"layout": "nt"}, (9, 0), None),  # C is stored through pointers
        ("warp_specialized", "bf16", {**FULL, "m": 7}, {"layout": "tn"}, (9, 0), "those of A as stored have 14"),
        ("tma", "fp32", FULL, {}, (9, 0), "spills registers in fp32"),
        ("tma", "tf32", FULL, {"layout": "nn"}, (9, 0), "in layout nt only"),
        ("warp_specialized", "fp8_e4m3", FULL, {"layout": "tn"}, (9, 0), "in layout nt only"),
        ("warp_specialized", "fp8_e4m3", FULL, {"layout": "nt", "scaling": "block"}, (9, 0), None),
        ("warp_specialized", "bf16", {"b": 2, **FULL, "k": 96}, {}, (9, 0), "k must be a multiple of 64"),
        ("tma", "bf16", FULL, {}, (8, 0), "needs compute capability 9.0 or later"),
        ("pointer", "bf16", FULL, {}, (8, 0), None),
        ("pointer", "fp32", {**FULL, "k": 1}, {}, (9, 0), None),
        ("tma", "bf16", FULL, {}, (10, 0), None),
    ],
)
def test_what_bulk_copies_do_not_take(
    kernel: str, precision: str, dims: Dims, options: dict[str, str], capability: tuple[int, int], reason: str | None
) -> None:
    why = OP.impls["triton"].unsupported(point(kernel, precision, dims, **options), Platform("cuda", capability))
    assert (why is None) == (reason is None), why
    assert reason is None or reason in str(why)


@pytest.mark.parametrize("impl", ["torch", "torch_compile"])
def test_pytorch_has_no_such_choice(impl: str) -> None:
    reasons = [OP.impls[impl].unsupported(OP.point(impl, "bf16", FULL, {"kernel": k}), ON_H100) for k in OP.options["kernel"].choices]
    assert reasons == [None, *(f"PyTorch chooses its own kernel: kernel {k} is one of Triton's" for k in ("pointer", *BULK_KERNELS))]


def test_ids_and_configs_name_the_kernel() -> None:
    found = {k: OP.point("triton", "bf16", FULL, {"kernel": k}) for k in OP.options["kernel"].choices}
    assert [p.id.removeprefix("matmul-triton-bf16-512x512x512") for p in found.values()] == [
        "",
        "-pointer_kernel",
        "-tma_kernel",
        "-warp_specialized_kernel",
    ]
    assert [str(triton_impl.choose_for(p, 132)) for p in found.values()] == [
        "64x32x128 w4 s4",
        "64x32x128 w4 s4",
        "tma 64x64x64 w4 s4",
        "warp_specialized 128x128x64 w4 s4",
    ]


@pytest.mark.parametrize(
    ("kernel", "precision", "m", "n", "batch", "small", "expected"),
    [
        ("tma", "bf16", 4096, 4096, 1, False, "tma 128x256x64 w8 s4"),
        ("tma", "bf16", 2048, 2048, 1, False, "tma 128x128x64 w8 s4"),
        ("tma", "bf16", 16, 4096, 1, False, "tma 64x64x64 w4 s4"),
        ("tma", "tf32", 4096, 4096, 1, False, "tma 128x256x32 w8 s3"),
        ("tma", "fp8_e4m3", 4096, 4096, 1, True, "tma 128x128x128 w8 s4"),
        ("warp_specialized", "bf16", 4096, 4096, 1, False, "warp_specialized 128x256x64 w4 s3"),
        ("warp_specialized", "bf16", 65536, 128, 1, False, "warp_specialized 256x128x64 w4 s3"),
        ("warp_specialized", "bf16", 256, 384, 128, False, "warp_specialized 256x128x64 w4 s3"),  # 384 is not a multiple of 256
        ("warp_specialized", "bf16", 384, 384, 128, False, "warp_specialized 128x128x64 w4 s4"),
        ("warp_specialized", "tf32", 4096, 4096, 1, False, "warp_specialized 128x128x32 w4 s3"),
    ],
)
def test_choice(kernel: str, precision: str, m: int, n: int, batch: int, small: bool, expected: str) -> None:
    assert str(choose_bulk(kernel, precision, m, n, batch, 132, small)) == expected


def test_inspect_compiles_them_for_the_gpus_that_run_them_only() -> None:
    found = list(bulk.compilations())
    for capability in ((8, 0), (9, 0), (10, 0)):
        runs = OP.impls["triton"].unsupported(point("tma", "bf16", FULL), Platform("cuda", capability)) is None
        assert {unsupported(c, capability) is None for c in found} == {runs}


def test_ids_of_compilations_are_distinct() -> None:
    ids = Counter(c.id for c in bulk.compilations())
    assert [one for one, count in ids.items() if count > 1] == []


@pytest.fixture(scope="module")
def findings() -> dict[str, Finding]:
    """The first config of each kernel in bf16, layout nt, and with block scales in fp8; and one with 8 warps, which Triton gives no warps
    of their own."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(bulk, "INTERPRETED", False)  # what is compiled is what a GPU runs
        found = [bulk.compilation("bf16", bulk_configs(kernel, "bf16")[0], bulk.ALIGNED, "nt", "nt") for kernel in BULK_KERNELS]
        blocks = [
            bulk.compilation("fp8_e4m3", bulk_configs(kernel, "fp8_e4m3", small=True)[0], bulk.ALIGNED, "nt", "nt", scaling="block")
            for kernel in BULK_KERNELS
        ]
    planted = replace(found[-1], num_warps=8)
    names = (*BULK_KERNELS, *(f"{kernel}, block scales" for kernel in BULK_KERNELS), "planted")
    return dict(zip(names, examine_all([*found, *blocks, planted], H100, 1), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kernel", "others", "registers"),
    [
        ("tma", 26, 169),
        ("warp_specialized", 13.5, 168),
        ("tma, block scales", 42, 169),
        ("warp_specialized, block scales", 34, 168),
    ],
)
def test_the_machine_code(findings: dict[str, Finding], kernel: str, others: float, registers: int) -> None:
    found = findings[kernel]
    assert (found.status, found.reasons) == ("pass", [])
    assert found.code is not None
    assert found.code.loop is not None
    assert found.code.loop.others is not None
    assert found.code.loop.others <= others
    assert found.code.registers <= registers
    assert {"UTMALDG", "UTMASTG", "STSM"} <= found.code.instructions.keys()


@pytest.mark.slow
def test_a_request_for_warps_of_their_own_that_the_compiler_drops_is_a_failure(findings: dict[str, Finding]) -> None:
    reason = "warp specialisation was requested, but the compiler dropped it: there is no USETMAXREG"
    assert reason in findings["planted"].reasons
