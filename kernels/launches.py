"""Records which Triton kernels any code launches, so that `inspect` can compile them for a GPU that is not there.

    found = recorded_launches(lambda: somebodys_function(x, y))
    examine_all(found, gpu, jobs=2)

A launch is recorded as Triton's own launcher specialises it: argument types, multiples of 16, compile-time arguments, options. Nothing
needs a GPU. A kernel that Triton would compile is recorded and not run, so what the code computes from its result means nothing; a kernel
that Triton's interpreter runs is recorded and run.

`triton.autotune`: every configuration that its pruning leaves is recorded. `triton.heuristics` are applied.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from multiprocessing.reduction import ForkingPickler
from typing import Any
from unittest.mock import patch

from triton.backends.compiler import GPUTarget
from triton.compiler import make_backend
from triton.runtime.autotuner import Autotuner
from triton.runtime.interpreter import InterpretedFunction
from triton.runtime.jit import JITFunction, create_function_from_signature

from kernels.compilation import INTERPRETED, Argument, Compilation, Function, address, innermost
from kernels.interpreter_fixes import fix_interpreter

SPECIALISED_FOR = GPUTarget("cuda", 90, 32)  # what a launch is specialised on does not depend on the compute capability
Record = Callable[[Compilation], None]


def recorded_launches(run: Callable[[], Any]) -> list[Compilation]:
    """What `run` launches, each kind of launch once, in order; `op`, `impl` and `precision` are left empty. What `run` raises passes."""
    found: list[Compilation] = []
    with recording(lambda launch: None if launch in found else found.append(launch)):
        run()
    return found


@contextmanager
def recording(record: Record) -> Iterator[None]:
    """Inside the `with` block, every launch is given to `record`, and a kernel that needs a GPU is not run."""
    if INTERPRETED:
        fix_interpreter()
    interpret, tune = InterpretedFunction.run, Autotuner.run

    def compiled(self: JITFunction, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:
        record(launch_of(self, args, kwargs, grid))

    def interpreted(self: InterpretedFunction, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:
        record(launch_of(_compilable(self), args, kwargs))
        interpret(self, *args, grid=grid, warmup=warmup, **kwargs)

    def tuned(self: Autotuner, *args: Any, **kwargs: Any) -> None:
        self.nargs = dict(zip(self.arg_names, args, strict=False))
        for config in self.prune_configs(kwargs):
            if config.pre_hook:  # such as one that gives descriptors this configuration's blocks
                config.pre_hook({**self.nargs, **kwargs, **config.all_kwargs()})
            self.fn.run(*args, **kwargs | {"warmup": True}, **config.all_kwargs())  # which the interpreter does not run
        if isinstance(innermost(self), InterpretedFunction):
            tune(self, *args, **kwargs)

    with (
        patch.object(JITFunction, "run", compiled),
        patch.object(InterpretedFunction, "run", interpreted),
        patch.object(Autotuner, "run", tuned),
    ):
        yield


def launch_of(kernel: JITFunction, args: tuple[Any, ...], kwargs: dict[str, Any], grid: Any = None) -> Compilation:
    """One launch, specialised. grid: called where it is a function, as the launcher would. Raises what Triton's launcher raises for
    arguments and options that it does not take."""
    backend, bind = _binder(kernel)
    bound, specialisation, _ = bind(*args, **kwargs)
    options, signature, constexprs, attributes = kernel._pack_args(backend, dict(kwargs), bound, specialisation, None)
    if callable(grid):
        grid(bound)
    names = list(signature)
    constants = {_argument(path, names): _plain(value) for path, value in constexprs.items()}
    usual = vars(backend.parse_options({}))
    given = {k: v for k, v in kwargs.items() if k not in names and v != usual[k] and k not in ("num_warps", "num_stages")}
    declared = [p.name for p in kernel.params if p.is_constexpr]
    shown = [f"{name}={constants[name]}" for name in declared if isinstance(constants.get(name), int | float | str)]
    shown += [f"w{options.num_warps}", f"s{options.num_stages}", *(f"{name}={value}" for name, value in given.items())]
    return Compilation(
        op="",
        precision="",
        variant=kernel.fn.__name__,
        config=" ".join(shown),
        kernel=address(kernel.fn),
        signature=signature,
        constexprs=constants,
        aligned=tuple(_argument(path, names) for path, values in attributes.items() if values),
        num_warps=options.num_warps,
        num_stages=options.num_stages,
        expects="recorded",
        options=given,
        file=inspect.getfile(kernel.fn),
        problem=_problem(kernel, constants),
    )


def _binder(kernel: JITFunction) -> tuple[Any, Callable[..., Any]]:
    """The backend, and the function that gives bound arguments, what each is specialised on, and options."""
    backend = make_backend(SPECIALISED_FOR)
    return backend, create_function_from_signature(kernel.signature, kernel.params, backend)


def _compilable(kernel: InterpretedFunction) -> JITFunction:
    """The same function as Triton's compiler would take it."""
    return JITFunction(kernel.fn, **kernel.kwargs)


def _argument(path: tuple[int, ...], names: list[str]) -> Argument:
    return names[path[0]] if len(path) == 1 else path


def _plain(value: Any) -> Any:
    """A compile-time argument as another process can be given it."""
    found = innermost(value)
    return Function(address(found.fn)) if isinstance(found, JITFunction | InterpretedFunction) else value


def _problem(kernel: JITFunction, constants: dict[Argument, Any]) -> str:
    """Why no other process can compile a launch; empty where one can."""
    if kernel.is_gluon():
        return f"{kernel.fn.__qualname__} is written in Gluon, which is not compiled here"
    functions = [address(kernel.fn), *(value.name for value in constants.values() if isinstance(value, Function))]
    for name in functions:
        if "<locals>" in name:
            where, _, function = name.partition(":")
            return f"{function.rpartition('.')[2]} is defined inside a function of {where}: move it to the top level of its file"
    found = innermost(_found(kernel.fn))
    if getattr(found, "fn", found) is not kernel.fn:
        return f"{functions[0]} is another object by now: give each kernel a name of its own"
    for argument, value in constants.items():
        try:
            ForkingPickler.dumps(value)
        except Exception as error:  # whatever the value's own code raises
            return f"the compile-time argument {argument} cannot be given to another process: {type(error).__name__}: {error}"
    return ""


def _found(function: Any) -> Any:
    """What the function's module holds by its name now; None where it holds nothing."""
    return reduce(_attribute, function.__qualname__.split("."), sys.modules.get(function.__module__))


def _attribute(owner: Any, name: str) -> Any:
    return getattr(owner, name, None)
