"""Descriptions of GPUs: the figures that docs/cost_model.md states, that every figure has a source, and that no peak is guessed."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from kernels import gpus
from kernels.gpus import GPU_DIR, Ceilings, GpuError, find_gpu, gpu_for_board, gpu_names, load_gpu, with_board_l2
from kernels.precisions import PRECISIONS

ALL = ("a100_pcie", "a100_sxm4_40gb", "a100_sxm4_80gb", "b200", "h100_nvl", "h100_pcie", "h100_sxm5", "h200_sxm")


def test_names_are_the_files() -> None:
    assert gpu_names() == ALL


# docs/cost_model.md; the A100's from NVIDIA's A100 datasheet.
@pytest.mark.parametrize(
    ("gpu", "precision", "peak"),
    [
        ("h100_sxm5", "bf16", 1979e12 / 2),
        ("h100_sxm5", "fp16", 1979e12 / 2),
        ("h100_sxm5", "fp8_e4m3", 1979e12),
        ("h100_sxm5", "fp8_e5m2", 1979e12),
        ("h100_sxm5", "tf32", 494.7e12),
        ("h100_sxm5", "fp32", 67e12),
        ("h200_sxm", "bf16", 1979e12 / 2),
        ("a100_sxm4_80gb", "bf16", 312e12),
        ("a100_sxm4_80gb", "tf32", 156e12),
        ("a100_sxm4_80gb", "fp32", 19.5e12),
    ],
)
def test_peaks(gpu: str, precision: str, peak: float) -> None:
    assert load_gpu(gpu).peak_flops_per_s[precision] == peak


@pytest.mark.parametrize(
    ("gpu", "field", "value"),
    [
        ("h100_sxm5", "bandwidth_bytes_per_s", 3.35e12),
        ("h100_sxm5", "memory_bytes", 80e9),
        ("h100_sxm5", "sm_count", 132),
        ("h100_sxm5", "shared_memory_per_block_bytes", 232_448),
        ("h100_sxm5", "l2_bytes", 50 * 2**20),
        ("h100_sxm5", "compute_capability", (9, 0)),
        ("h100_sxm5", "max_clock_hz", 1.98e9),
        ("h200_sxm", "bandwidth_bytes_per_s", 4.8e12),
        ("h200_sxm", "memory_bytes", 141e9),
        ("h200_sxm", "l2_bytes", 60 * 2**20),
        ("a100_sxm4_80gb", "compute_capability", (8, 0)),
        ("b200", "compute_capability", (10, 0)),
        ("b200", "l2_bytes", 126.5 * 2**20),
        ("b200", "max_clock_hz", 1.965e9),
    ],
)
def test_figures(gpu: str, field: str, value: object) -> None:
    assert getattr(load_gpu(gpu), field) == value


def test_a_precision_without_units_is_absent() -> None:
    assert set(PRECISIONS) - set(load_gpu("a100_sxm4_80gb").peak_flops_per_s) == {"fp8_e4m3", "fp8_e5m2"}


@pytest.mark.parametrize("name", ALL)
def test_every_figure_has_a_source(name: str) -> None:
    gpu = load_gpu(name)
    assert set(gpu.sources) == gpu.model_fields_set - {"name", "sources"}
    assert all(text.strip() for text in gpu.sources.values())
    assert gpu.model is not None


# 4 tensor cores an SM: FLOPs a clock of bf16, by generation (A100 and H100 whitepapers; a B200's SM does twice a H100's).
# 256: 128 fp32 lanes, 64 on the A100. The B200's 75 TFLOPS are an eighth of a rounded 600.
@pytest.mark.parametrize(
    ("name", "tensor", "vector", "rounding"),
    [
        ("h100_sxm5", 4096, 256, 6e-3),
        ("h100_pcie", 4096, 256, 6e-3),
        ("h100_nvl", 4096, 256, 6e-3),
        ("h200_sxm", 4096, 256, 6e-3),
        ("a100_sxm4_80gb", 2048, 128, 6e-3),
        ("b200", 8192, 256, 8e-3),
    ],
)
def test_peaks_are_units_times_clock(name: str, tensor: int, vector: int, rounding: float) -> None:
    gpu = load_gpu(name)
    assert gpu.max_clock_hz is not None
    assert gpu.sm_count * tensor * gpu.boost_clock_hz == pytest.approx(gpu.peak_flops_per_s["bf16"], rel=2e-3)
    assert gpu.sm_count * vector * gpu.max_clock_hz == pytest.approx(gpu.peak_flops_per_s["fp32"], rel=rounding)
    assert gpu.peak_flops_per_s["tf32"] == pytest.approx(gpu.peak_flops_per_s["bf16"] / 2, rel=2e-3)


@pytest.mark.parametrize(
    ("board", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "h100_sxm5"),
        ("NVIDIA H100 PCIe", "h100_pcie"),
        ("NVIDIA H100 NVL", "h100_nvl"),
        ("NVIDIA H200", "h200_sxm"),
        ("NVIDIA A100-SXM4-80GB", "a100_sxm4_80gb"),
        ("NVIDIA B200", "b200"),
    ],
)
def test_boards(board: str, name: str) -> None:
    gpu = gpu_for_board(board)
    assert gpu is not None
    assert gpu.name == name


@pytest.mark.parametrize("board", ["NVIDIA H100", "NVIDIA H200 NVL", "NVIDIA A100-PCIE-40GB", "nvidia h200", "NVIDIA GH200 480GB", ""])
def test_unknown_boards_have_no_peak(board: str) -> None:
    assert gpu_for_board(board) is None


def test_no_board_has_two_descriptions() -> None:
    boards = [board for name in ALL for board in load_gpu(name).boards]
    assert len(boards) == len(set(boards))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("h200", "did you mean h200_sxm?"),
        ("H100", "did you mean h100_nvl or h100_pcie or h100_sxm5?"),
        ("h100-sxm5", "did you mean h100_sxm5?"),
        ("", "known: a100_pcie, a100_sxm4_40gb"),
        ("../h100_sxm5", "known:"),
        ("zzz", "known:"),
    ],
)
def test_unknown_names_are_told_the_known_ones(name: str, hint: str) -> None:
    with pytest.raises(GpuError) as raised:
        load_gpu(name)
    assert hint in str(raised.value)
    assert "\n" not in str(raised.value)


def _refused(monkeypatch: pytest.MonkeyPatch, tmp_path, change) -> str:
    fields = yaml.safe_load((GPU_DIR / "h200_sxm.yaml").read_text(encoding="utf-8"))
    fields["name"] = "mine"
    change(fields)
    del fields["model"]
    del fields["sources"]["model"]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(fields), encoding="utf-8")
    monkeypatch.setattr(gpus, "GPU_DIR", tmp_path)
    gpus._load.cache_clear()
    try:
        with pytest.raises(GpuError) as raised:
            load_gpu("mine")
    finally:
        gpus._load.cache_clear()
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: f.update(boost_clock="1"), "boost_clock"),
        (lambda f: f["peak_flops_per_s"].update(fp4=1e15), "unknown precision fp4"),
        (lambda f: f["peak_flops_per_s"].update(bf16=0), "greater than 0"),
        (lambda f: f["sources"].pop("l2_bytes"), "none for l2_bytes"),
        (lambda f: f["sources"].update(price="x"), "unknown field price"),
        (lambda f: f.update(name="other"), "`name` must be 'mine'"),
    ],
)
def test_mistakes_in_a_file_are_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path, change, says: str) -> None:
    assert says in _refused(monkeypatch, tmp_path, change)


def described(folder: Path, name: str = "mine", **changes: object) -> Path:
    """A file like those of configs/gpus, somewhere else: an H100 with 100 SMs."""
    fields = yaml.safe_load((GPU_DIR / "h100_sxm5.yaml").read_text(encoding="utf-8"))
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({**fields, "name": "mine", "sm_count": 100, "model": "h100_sxm5", **changes}), encoding="utf-8")
    return path


def test_a_gpu_is_found_by_name_or_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = described(tmp_path)
    assert find_gpu("h200_sxm") is load_gpu("h200_sxm")
    found = find_gpu(str(path))
    assert (found.name, found.sm_count, found.model) == ("mine", 100, load_gpu("h100_sxm5").model)
    assert find_gpu("mine.yaml", tmp_path) == found
    monkeypatch.chdir(tmp_path)
    assert find_gpu("mine.yaml") == find_gpu("./mine.yaml") == found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "mine.yaml:1: GPU: file not found"),
        ("", "mine.yaml:1: GPU: the file is empty"),
        ("[1]", "mine.yaml:1: GPU: the file must hold a mapping of keys"),
        ("name: mine\nboards: [a\n", "mine.yaml:3: YAML: "),
        ("name: mine\nname: mine\n", "mine.yaml:2: name: "),
        ("name: h100_sxm5\n", "`name` must be 'mine', as the file is called"),
        ("sm_count: 1\n", "`name` must be 'mine', as the file is called"),
        ("name: mine\n", "mine.yaml: peak_flops_per_s: Field required"),
        ("name: mine\n1: 2\n", "mine.yaml: "),
        ("name: mine\nboards: 2001-99-99\n", "mine.yaml: month must be in 1..12"),
        ("name: mine\nsm_count: " + "9" * 5000 + "\n", "mine.yaml: "),
        ("name: mine\nmodel: h900\n", "mine.yaml: model: unknown GPU 'h900'"),
        ('name: mine\n"a\\nb": 1\n', "mine.yaml: "),
        ("name: mine\nboards: " + "[" * 3000 + "]" * 3000 + "\n", "mine.yaml:2: "),
    ],
)
def test_a_wrong_file_gives_one_line(tmp_path: Path, text: str | None, says: str) -> None:
    path = tmp_path / "mine.yaml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(GpuError) as raised:
        find_gpu(str(path))
    assert says in str(raised.value)
    assert str(raised.value).startswith(str(path))
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["a b", "[red]", "x\x1b[31m"])
def test_a_gpus_name_is_a_word(tmp_path: Path, name: str) -> None:
    with pytest.raises(GpuError, match="letters, digits, _ and -"):
        find_gpu(str(described(tmp_path, name)))


def test_a_folder_is_not_a_gpu(tmp_path: Path) -> None:
    with pytest.raises(GpuError, match="is a directory, not a file"):
        find_gpu(str(tmp_path))


def test_gpus_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_gpu("h100_sxm5").sm_count = 1  # type: ignore[misc]


@pytest.mark.parametrize("l2_bytes", [40 * 2**20, 52_428_800, 60 * 2**20])
def test_the_boards_own_l2_replaces_the_files_and_nothing_else(l2_bytes: int) -> None:
    written = load_gpu("h100_sxm5")
    found = with_board_l2(written, l2_bytes)
    assert found.l2_bytes == l2_bytes
    assert (found is written) == (l2_bytes == written.l2_bytes)
    assert ("on the board" in found.sources["l2_bytes"]) == (found is not written)
    assert found.model_copy(update={"l2_bytes": written.l2_bytes, "sources": written.sources}) == written
    assert load_gpu("h100_sxm5").l2_bytes == 50 * 2**20, "the file's own description is shared and stays"


def test_a_cpu_has_ceilings_only() -> None:
    ceilings = Ceilings.model_validate({"peak_flops_per_s": {"fp32": 1e11}, "bandwidth_bytes_per_s": 2e10})
    assert ceilings.model is None
