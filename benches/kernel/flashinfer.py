"""flashinfer-bench's JSON files: a definition, solutions in Python or Triton, and workloads with random or scalar inputs.

A solution in another language, such as CUDA, is `unsupported` with the reason; a
workload whose inputs lie in files is left out with a note.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from benches.kernel.problem import PRECISION_OF, FormatError, Problem, name_of, name_of_op, refuse_always
from kernels import support
from kernels.imports import PACKAGE, error_line, import_file
from kernels.op import Impl, Inputs, Kernel, Point, always
from kernels.own_op import as_tuple, named_as, own_op
from kernels.support import Platform

RUNS: Mapping[str, Any] = MappingProxyType({"python": "torch", "triton": "triton"})  # solutions' languages -> the suite's
WHOLE = ("int64", "int32", "int16", "int8", "bool")  # dtypes of random inputs besides those of PRECISION_OF


def documents(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of a file: one, a list of them, or one a line in a .jsonl. Raises FormatError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: cannot be read ({error}); name a JSON file in UTF-8") from None
    found: list[Any] = []
    pieces = enumerate(text.splitlines(), 1) if path.suffix == ".jsonl" else [(1, text)]
    for first, piece in pieces:
        if not piece.strip():
            continue
        try:
            value = json.loads(piece)
        except (json.JSONDecodeError, RecursionError) as error:
            line = first + getattr(error, "lineno", 1) - 1
            raise FormatError(f"{path}:{line}: is not JSON: {getattr(error, 'msg', 'it is nested too deeply')}; correct it") from None
        found += value if isinstance(value, list) else [value]
    if not found or not all(isinstance(one, dict) for one in found):
        raise FormatError(f"{path}: needs a JSON object: a definition, a solution or a workload of flashinfer-bench")
    return found


def read_flashinfer(paths: Sequence[Path], folder: Path) -> Problem:
    """The op of a definition with its solutions and workloads. Sources are written to `folder`, from which they are imported."""
    definitions: list[tuple[Path, dict[str, Any]]] = []
    solutions: list[tuple[Path, dict[str, Any]]] = []
    workloads: list[tuple[Path, dict[str, Any]]] = []
    for path in paths:
        for one in documents(path):
            kind = solutions if "sources" in one else definitions if "reference" in one else workloads
            if kind is workloads and "workload" not in one and "axes" not in one:
                raise FormatError(f"{path}: is neither a definition (reference), nor a solution (sources), nor a workload (axes)")
            kind.append((path, one))
    if len(definitions) != 1:
        raise FormatError(f"{paths[0]}: needs one definition, not {len(definitions)}: name its file beside those of the solutions")
    ((where, given),) = definitions
    definition = _Definition(where, given, folder)
    impls: dict[str, Impl] = {}
    for path, solution in solutions:
        impl = _solution(path, solution, definition, folder)
        if impl.name in impls or impl.name == "torch":
            raise FormatError(f"{path}: the name {_text(solution, 'name', path)!r} is taken by another implementation: choose another")
        impls[impl.name] = impl
    notes = [note for path, one in workloads if (note := definition.add_workload(path, one))]
    # A method has no name of its own that could be changed: hence the functions around them.
    make_operands = named_as(definition.run, lambda point, device, seed: definition.operands(point, device, seed))  # noqa: PLW0108
    reference = named_as(definition.run, lambda *operands: definition.reference(*operands))  # noqa: PLW0108
    op = own_op(
        name_of_op(definition.name, "definition"),
        definition.dims,
        make_operands,
        reference,
        doc=str(definition.given.get("description", "")).partition("\n")[0],
        precisions=(definition.precision,),
        impls=list(impls.values()),
    )
    return Problem(op, (definition.precision,), tuple(definition.workloads), unknown=definition.unknown(), notes=notes)


class _Definition:
    """A definition that is whole. `dims`: its variable axes; where it has none, all. `workloads`: the sizes of each."""

    def __init__(self, path: Path, given: dict[str, Any], folder: Path):
        self.path, self.given = path, given
        self.name = _text(given, "name", path)
        axes = _object(given, "axes", path)
        self.constants = {name: self._constant(name, axis) for name, axis in axes.items() if axis.get("type") == "const"}
        variable = [name for name in axes if name not in self.constants]
        self.dims = tuple(variable or self.constants)
        self.inputs, self.outputs = (_object(given, key, path) for key in ("inputs", "outputs"))
        for name, tensor in (*self.inputs.items(), *self.outputs.items()):
            self._check(name, tensor, axes)
        tensors = [tensor["dtype"] for tensor in self.inputs.values() if tensor.get("shape") is not None]
        self.precision = next((PRECISION_OF[dtype] for dtype in tensors if dtype in PRECISION_OF), "fp32")
        self.workloads: list[dict[str, int]] = [] if variable else [self.constants]
        self._scalars: dict[str, Any] = {}
        source = _write(folder / "reference", {"reference.py": _text(given, "reference", path)}, path)
        self.run = _function(source / "reference.py", "run", path)

    def _constant(self, name: str, axis: Any) -> int:
        value = axis.get("value")
        if type(value) is not int or value < 1:
            raise FormatError(f"{self.path}: axes.{name}.value is {value!r}: a const axis needs a positive integer")
        return value

    def _check(self, name: str, tensor: Any, axes: Mapping[str, Any]) -> None:
        where = f"{self.path}: {name}"
        if not isinstance(tensor, dict) or tensor.get("dtype") not in (*PRECISION_OF, *WHOLE):
            dtype = tensor.get("dtype") if isinstance(tensor, dict) else tensor
            raise FormatError(f"{where}.dtype: {dtype!r} is not supported; supported: {', '.join((*PRECISION_OF, *WHOLE))}")
        shape = tensor.get("shape")
        if shape is not None and (not isinstance(shape, list) or any(axis not in axes for axis in shape)):
            raise FormatError(f"{where}.shape: {shape!r} is not a list of axes; axes: {', '.join(axes)}")

    def add_workload(self, path: Path, one: Mapping[str, Any]) -> str | None:
        """Adds the shape of a workload. Returns a line about one that is left out."""
        given = one.get("workload", one)
        axes, inputs = _object(given, "axes", path), _object(given, "inputs", path)
        missing = [axis for axis in self.dims if axis not in axes and axis not in self.constants]
        if missing:
            raise FormatError(f"{path}: axes.{missing[0]} has no value: a workload gives one for each var axis of {self.name}")
        sizes = self.constants | axes
        if wrong := [axis for axis in self.dims if type(sizes[axis]) is not int or sizes[axis] < 1]:
            raise FormatError(f"{path}: axes.{wrong[0]} is {sizes[wrong[0]]!r}: use a positive integer")
        for name, tensor in self.inputs.items():
            source = inputs.get(name, {})
            kind = source.get("type") if isinstance(source, dict) else None
            if kind not in ("random", "scalar"):
                return f"{path}: a workload is unsupported: the input {name} is of type {kind!r}; supported: random, scalar"
            if (kind == "scalar") != (tensor.get("shape") is None):
                raise FormatError(f"{path}: inputs.{name}: {kind} does not fit the definition's shape {tensor.get('shape')!r}")
            if kind == "scalar":
                if not isinstance(value := source.get("value"), int | float):
                    raise FormatError(f"{path}: inputs.{name}.value is {value!r}: a scalar needs a number")
                if self._scalars.setdefault(name, value) != value:
                    return f"{path}: a workload is unsupported: {name} differs from {self._scalars[name]} in the first one"
        self.workloads.append({axis: sizes[axis] for axis in self.dims})
        return None

    def unknown(self) -> str | None:
        """The first scalar without a value."""
        scalars = (name for name, tensor in self.inputs.items() if tensor.get("shape") is None)
        return next((name for name in scalars if name not in self._scalars), None)

    def shape(self, tensor: Mapping[str, Any], point: Point) -> list[int]:
        sizes = self.constants | dict(point.dims)
        return [sizes[axis] for axis in tensor["shape"]]

    def operands(self, point: Point, device: Any, seed: int | None) -> tuple[Any, ...]:
        """`make_operands` of own_op: normally distributed numbers; whole ones are 0 or 1, so that they can be indices and masks."""
        import torch

        generator = None if seed is None else torch.Generator(device).manual_seed(seed)

        def random(tensor: Mapping[str, Any]) -> Any:
            shape, dtype = self.shape(tensor, point), getattr(torch, tensor["dtype"])
            if tensor["dtype"] in WHOLE:
                return torch.randint(0, 2, shape, generator=generator, device=device).to(dtype)
            return torch.randn(shape, generator=generator, device=device).to(dtype)

        return tuple(random(tensor) for tensor in self.inputs.values() if tensor.get("shape") is not None)

    def by_name(self, operands: Sequence[Any]) -> dict[str, Any]:
        """All inputs in the definition's order."""
        tensors = iter(operands)
        return {name: self._scalars.get(name) if tensor.get("shape") is None else next(tensors) for name, tensor in self.inputs.items()}

    def results(self, value: Any) -> Any:
        """A tensor, or a tuple of them, of what `run` returned: these, or a dict of them by name."""
        values = tuple(value[name] for name in self.outputs) if isinstance(value, dict) else as_tuple(value)
        return values if len(self.outputs) > 1 else values[0]

    def reference(self, *operands: Any) -> Any:
        return self.results(self.run(*self.by_name(operands).values()))


def writes_results(spec: Mapping[str, Any], run: Callable[..., Any], inputs: int) -> bool:
    """Whether a solution writes to arguments after its inputs. The schema's default is true. Older solutions lack the key and return their
    results: theirs is a function of the inputs only."""
    given = spec.get("destination_passing_style")
    if isinstance(given, bool):
        return given
    try:
        parameters = inspect.signature(run).parameters.values()
    except (TypeError, ValueError):  # a function without a signature that Python can read
        return True
    needed = [one for one in parameters if one.default is one.empty and one.kind is not one.VAR_KEYWORD]
    return len(needed) > inputs or any(one.kind is one.VAR_POSITIONAL for one in needed)


def _solution(path: Path, given: dict[str, Any], definition: _Definition, folder: Path) -> Impl:
    name = name_of(_text(given, "name", path), "solution")
    if _text(given, "definition", path) != definition.name:
        raise FormatError(f"{path}: definition is {given['definition']!r}: it is not {definition.name!r}, the one of {definition.path}")
    spec = _object(given, "spec", path)
    language = _text(spec, "language", path).lower()
    if language not in RUNS:
        reason = f"the language {language} is not supported; supported: {', '.join(RUNS)}"
        return Impl(name, definition.reference, refuse_always(reason), always)
    sources = given["sources"]
    if not isinstance(sources, list) or not all(isinstance(s, dict) for s in sources):
        raise FormatError(f"{path}: sources needs a list of objects with path and content")
    texts = {_text(s, "path", path): _text(s, "content", path) for s in sources}
    file, _, function = _text(spec, "entry_point", path).partition("::")
    if file not in texts or not function:
        raise FormatError(f"{path}: spec.entry_point is {spec['entry_point']!r}: write FILE::FUNCTION with one of {', '.join(texts)}")
    run = _function(_write(folder / name, texts, path) / file, function, path)
    in_place = writes_results(spec, run, len(definition.inputs))

    def build(point: Point, inputs: Inputs) -> Kernel:
        named = definition.by_name(inputs.operands)
        if in_place:
            outs = as_tuple(inputs.out)

            def write() -> Any:
                run(*named.values(), *outs)
                return inputs.out

            return Kernel(write)
        return Kernel(lambda: definition.results(run(*named.values())))

    def refuses(point: Point, platform: Platform) -> str | None:
        return support.matrix_units_or_interpreter(point.precision, platform)

    return Impl(name, named_as(run, build), refuses, (lambda point: not in_place), RUNS[language])


def _function(file: Path, name: str, path: Path) -> Callable[..., Any]:
    module_name = f"{PACKAGE}.{name_of(file.stem, 'file')}_{hashlib.sha256(str(file).encode() + file.read_bytes()).hexdigest()[:8]}"
    try:
        module = import_file(file, module_name)
    except (Exception, SystemExit) as error:
        raise FormatError(f"{path}: {error_line(error, str(file), str(file))}") from error
    found = getattr(module, name, None)
    if not callable(found):
        raise FormatError(f"{path}: there is no function {name} in {file.name}: define it, or name another")
    return found


def _write(folder: Path, texts: Mapping[str, str], path: Path) -> Path:
    """Writes sources below a folder. Raises FormatError for a path that leads out of it."""
    for name, text in texts.items():
        relative = PurePosixPath(name)
        if relative.is_absolute() or ".." in relative.parts:
            raise FormatError(f"{path}: sources: {name!r} leads out of the solution's folder: use a relative path")
        target = folder / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return folder


def _text(given: Mapping[str, Any], key: str, path: Path) -> str:
    if not isinstance(value := given.get(key), str) or not value:
        raise FormatError(f"{path}: {key} is missing or is not text: flashinfer-bench's schema needs it")
    return value


def _object(given: Mapping[str, Any], key: str, path: Path) -> dict[str, Any]:
    if not isinstance(value := given.get(key), dict):
        raise FormatError(f"{path}: {key} is missing or is not an object: flashinfer-bench's schema needs it")
    return value
