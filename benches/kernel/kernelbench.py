"""KernelBench's files: the classes Model and ModelNew, get_inputs and get_init_inputs, in one file or in two.

The random seed is set before each constructor, so that Model and ModelNew start from the same weights, and the weights of Model are
operands beside the inputs: they are read, and the reference gets them in fp64. `get_inputs` runs once for each set, with a seed of its
own; what is not a tensor among its values is taken from the first call.
"""

from __future__ import annotations

import ast
import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from benches.kernel.problem import PRECISION_OF, FormatError, Problem, failed, name_of, name_of_op, refuse_always
from kernels import support
from kernels.imports import PACKAGE, error_line, import_file
from kernels.op import Impl, Inputs, Kernel, Point, always
from kernels.own_op import named_as, own_op
from kernels.support import Platform

WEIGHTS_SEED = 42  # set before each constructor
PARTS = ("Model", "ModelNew", "get_inputs", "get_init_inputs")
NO_NVCC = "it compiles CUDA source by load_inline, which needs nvcc: install the CUDA toolkit"


def top_level(path: Path) -> set[str]:
    """Names that a file defines at its top level. Raises FormatError where it is not Python."""
    return {node.name for node in _parse(path).body if isinstance(node, ast.ClassDef | ast.FunctionDef)}


def imports_of(path: Path) -> set[str]:
    """Top-level packages and names that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(_parse(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {(node.module or "").partition(".")[0], *(alias.name for alias in node.names)}
        elif isinstance(node, ast.Attribute):
            found |= {node.attr} & {"load_inline"}
    return found


def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError) as error:
        raise FormatError(error_line(error, str(path), str(path))) from None
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror}; name a file that exists") from None


def is_kernelbench(paths: Sequence[Path]) -> bool:
    """Whether files define any of KernelBench's classes."""
    return any({"Model", "ModelNew"} & top_level(path) for path in paths)


def read_kernelbench(paths: Sequence[Path]) -> Problem:
    """The op of a file with Model, and the solution ModelNew of the same file or another. Raises FormatError."""
    where: dict[str, Path] = {}
    for path in paths:
        for part in top_level(path) & set(PARTS):
            if part in ("Model", "ModelNew") or part not in where or "Model" in top_level(path):
                if part in ("Model", "ModelNew") and part in where:
                    raise FormatError(f"{path}: {part} is defined in {where[part]} too: name one reference and one solution")
                where[part] = path
    for part in ("Model", "get_inputs"):
        if part not in where:
            raise FormatError(f"{paths[0]}: there is no {part}: KernelBench's reference file defines Model, get_inputs and get_init_inputs")
    cuda = {path: "load_inline" in imports_of(path) and shutil.which("nvcc") is None for path in paths}
    modules = {path: _load(path, cuda[path]) for path in dict.fromkeys(where.values())}
    get_inits = modules[where["get_init_inputs"]].get_init_inputs if "get_init_inputs" in where else list
    reference = _Reference(modules[where["Model"]].Model, modules[where["get_inputs"]].get_inputs, get_inits, str(where["Model"]))
    impls = []
    if "ModelNew" in where:
        path = where["ModelNew"]
        language: Any = "triton" if "triton" in imports_of(path) else "torch"
        refuse = refuse_always(NO_NVCC) if cuda[path] else _needs
        solution = modules[path].ModelNew
        impls = [Impl("model_new", named_as(solution, reference.builder(solution)), refuse, always, language)]
    elements = sum(t.numel() for t in reference.tensors(0))
    # A method has no name of its own that could be changed: hence the functions around them.
    make_operands = named_as(reference.get_inputs, lambda point, device, seed: reference.operands(point, device, seed))  # noqa: PLW0108
    forward = named_as(reference.model, lambda *operands: reference.forward(*operands))  # noqa: PLW0108
    op = own_op(
        name_of_op(where["Model"].stem, "kernelbench"),
        ("elements",),
        make_operands,
        forward,
        precisions=(reference.precision,),
        small={"elements": elements},
        impls=impls,
    )
    return Problem(op, (reference.precision,), ({"elements": elements},), sized=True)


def _needs(point: Point, platform: Platform) -> str | None:
    return support.matrix_units_or_interpreter(point.precision, platform)


@contextmanager
def _without_nvcc(stand_in: bool) -> Iterator[None]:
    """With `stand_in`, load_inline returns an empty module, so that the rest of a file can be loaded; what it compiles is unsupported."""
    if not stand_in:
        yield
        return
    from torch.utils import cpp_extension

    before = cpp_extension.load_inline
    cpp_extension.load_inline = lambda *args, **kwargs: ModuleType("not_compiled")
    try:
        yield
    finally:
        cpp_extension.load_inline = before


def _load(path: Path, stand_in: bool) -> ModuleType:
    name = f"{PACKAGE}.{name_of(path.stem, 'file')}_{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"
    try:
        with _without_nvcc(stand_in):
            return import_file(path, name)
    except (Exception, SystemExit) as error:
        raise FormatError(error_line(error, str(path), str(path))) from error


def as_it_is_timed(module: Any) -> Any:
    """The module in training mode, as KernelBench runs it, so that normalisation takes the statistics of the batch. Dropout is off, for
    it differs from call to call, as is the update of running statistics, which would write to operands."""
    from torch import nn
    from torch.nn.modules.batchnorm import _NormBase
    from torch.nn.modules.dropout import _DropoutNd

    for part in module.modules():
        if isinstance(part, _DropoutNd):
            part.eval()
        elif isinstance(part, nn.MultiheadAttention | nn.RNNBase):
            part.dropout = 0.0
        elif isinstance(part, _NormBase) and part.training:
            part.track_running_stats = False
    return module


@dataclass
class _Reference:
    """Model with its inputs. Operands are the tensors among the inputs, then the weights and buffers by name."""

    model: Callable[..., Any]
    get_inputs: Callable[[], Any]
    get_init_inputs: Callable[[], Any]
    file: str

    def __post_init__(self) -> None:
        import torch
        from torch.utils._pytree import tree_flatten

        leaves, self._spec = tree_flatten(self._inputs(0))
        self._constants = [None if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
        self._is_tensor = [isinstance(leaf, torch.Tensor) for leaf in leaves]
        self._shapes = [leaf.shape for leaf in leaves if isinstance(leaf, torch.Tensor)]
        if not any(self._is_tensor):
            raise FormatError(f"{self.file}: get_inputs returns no tensor: return a list with the arguments of Model.forward")
        self._module = self.construct(self.model)
        self._state = {**dict(self._module.named_parameters()), **dict(self._module.named_buffers())}
        dtypes = [str(leaf.dtype).removeprefix("torch.") for leaf in leaves if isinstance(leaf, torch.Tensor)]
        self.precision = next((PRECISION_OF[dtype] for dtype in dtypes if dtype in PRECISION_OF), "fp32")

    def _inputs(self, seed: int) -> Any:
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                inputs = self.get_inputs()
            except Exception as error:
                raise failed(error, self.file, "by get_inputs") from error
        if not isinstance(inputs, list | tuple):
            kind = type(inputs).__name__
            raise FormatError(f"{self.file}: get_inputs returns {kind}: return a list with the arguments of Model.forward")
        return list(inputs)

    def construct(self, model: Callable[..., Any]) -> Any:
        """A module, from the seed that all constructors get. Raises FormatError."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(WEIGHTS_SEED)
            try:
                arguments = self.get_init_inputs()
                if not isinstance(arguments, list | tuple):
                    kind = type(arguments).__name__
                    raise FormatError(f"{self.file}: get_init_inputs returns {kind}: return a list with the arguments of Model")
                torch.manual_seed(WEIGHTS_SEED)
                made = model(*arguments)
            except FormatError:
                raise
            except Exception as error:
                raise failed(error, self.file, f"by the constructor of {getattr(model, '__name__', 'the model')}") from error
        if not isinstance(made, torch.nn.Module):
            raise FormatError(f"{self.file}: Model is not a torch.nn.Module: derive the class from it")
        return as_it_is_timed(made)

    def tensors(self, seed: int) -> list[Any]:
        """The tensors among the inputs."""
        import torch
        from torch.utils._pytree import tree_leaves

        found = [leaf for leaf in tree_leaves(self._inputs(seed)) if isinstance(leaf, torch.Tensor)]
        if [t.shape for t in found] != self._shapes:
            raise FormatError(f"{self.file}: get_inputs returns other shapes each time: the shapes of a problem are fixed")
        return found

    def operands(self, point: Point, device: Any, seed: int | None) -> tuple[Any, ...]:
        """`make_operands` of own_op."""
        return tuple(t.detach().to(device, copy=True) for t in (*self.tensors(seed or 0), *self._state.values()))

    def arguments(self, operands: Sequence[Any]) -> list[Any]:
        """The arguments of `forward`, with tensors from the operands."""
        from torch.utils._pytree import tree_unflatten

        tensors = iter(operands)
        leaves = [next(tensors) if one else constant for one, constant in zip(self._is_tensor, self._constants, strict=True)]
        return tree_unflatten(leaves, self._spec)

    def forward(self, *operands: Any) -> Any:
        """The reference."""
        from torch.func import functional_call

        inputs = len(self._shapes)
        state = dict(zip(self._state, operands[inputs:], strict=True))
        return functional_call(self._module, state, tuple(self.arguments(operands[:inputs])))

    def builder(self, solution: Callable[..., Any]) -> Callable[[Point, Inputs], Kernel]:
        """`Impl.build` of ModelNew, which has weights of its own."""

        def build(point: Point, inputs: Inputs) -> Kernel:
            import torch

            first = inputs.operands[0]
            module = self.construct(solution).to(first.device)
            arguments = self.arguments(inputs.operands[: len(self._shapes)])

            def run() -> Any:
                with torch.no_grad():
                    result = module(*arguments)
                return tuple(result) if isinstance(result, list) else result

            return Kernel(run)

        return build
