"""Where the elements of a result lie in its operand's memory, as strides and an offset. No torch here: reports show this too.

    x  (m, n), row-major: element (r, c) at r·n + c, so strides (n, 1), offset 0

A function of this family picks elements of x at such addresses. Where PyTorch can say where they lie with one stride a dim, the result
is a view: the same memory under other strides. Where it cannot, or is told to make the result row-major, every element is copied.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Makes = Literal[
    "view",  # whatever the shape
    "view or error",  # PyTorch's RuntimeError where one stride a dim does not reach the elements
    "copy if needed",  # the view itself where that is already row-major
    "copy",  # always
]


@dataclass(frozen=True)
class Strided:
    """Element (r, c) lies at offset + r·strides[0] + c·strides[1]. All in elements."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def is_row_major(self) -> bool:
        """Whether elements in order lie side by side, which PyTorch calls contiguous. A dim of one element is never stepped along."""
        return all(size == 1 or stride == wanted for size, stride, wanted in zip(self.shape, self.strides, steps(self.shape), strict=True))

    def describe(self, shared: bool) -> str:
        """For a reader: "strides (1, 4096), offset 0, shares storage"."""
        return f"strides {self.strides}, offset {self.offset}, {'shares storage' if shared else 'own storage'}"


def steps(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of a row-major tensor of `shape`."""
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


@dataclass(frozen=True)
class Function:
    """One function: as it is written in PyTorch, which elements it takes, and what it makes of them."""

    code: str  # of x (m, n); of a row x (n,) for the two that repeat one; of x and y (m, n) for cat
    takes: Callable[[int, int], Strided]  # from m and n: the elements in the operand's memory
    makes: Makes
    flat: bool = False  # the result has one dim


FUNCTIONS = {
    "slice": Function("x[m // 2:, n // 2:]", lambda m, n: Strided((m - m // 2, n - n // 2), (n, 1), m // 2 * n + n // 2), "view"),
    "step": Function("x[::2, ::2]", lambda m, n: Strided(((m + 1) // 2, (n + 1) // 2), (2 * n, 2)), "view"),
    "row": Function("x[m // 2]", lambda m, n: Strided((n,), (1,), m // 2 * n), "view"),
    "column": Function("x[:, n // 2]", lambda m, n: Strided((m,), (n,), n // 2), "view"),
    "transpose": Function("x.t()", lambda m, n: Strided((n, m), (1, n)), "view"),
    "reshape": Function("x.reshape(n, m)", lambda m, n: Strided((n, m), (m, 1)), "view"),
    "view": Function("x.view(m * n)", lambda m, n: Strided((m * n,), (1,)), "view"),
    "expand": Function("x.expand(m, n)", lambda m, n: Strided((m, n), (0, 1)), "view"),
    "view_of_transpose": Function("x.t().view(m * n)", lambda m, n: Strided((n, m), (1, n)), "view or error", flat=True),
    "clone": Function("x.clone()", lambda m, n: Strided((m, n), (n, 1)), "copy"),
    "contiguous": Function("x.t().contiguous()", lambda m, n: Strided((n, m), (1, n)), "copy if needed"),
    "reshape_copy": Function("x.t().reshape(m * n)", lambda m, n: Strided((n, m), (1, n)), "copy if needed", flat=True),
    "slice_copy": Function("x[:, n // 2:].contiguous()", lambda m, n: Strided((m, n - n // 2), (n, 1), n // 2), "copy if needed"),
    "column_copy": Function("x[:, n // 2].contiguous()", lambda m, n: Strided((m,), (n,), n // 2), "copy if needed"),
    "expand_copy": Function("x.expand(m, n).contiguous()", lambda m, n: Strided((m, n), (0, 1)), "copy if needed"),
    "cat": Function("torch.cat((x, y), 1)", lambda m, n: Strided((m, 2 * n), (2 * n, 1)), "copy"),
}
ROWS = ("expand", "expand_copy")  # whose operand is a row (n,)


def refused(name: str, m: int, n: int) -> bool:
    """Whether PyTorch raises an error: `view` on what one stride a dim does not reach."""
    f = FUNCTIONS[name]
    return f.makes == "view or error" and not f.takes(m, n).is_row_major


def shares_storage(name: str, m: int, n: int) -> bool:
    """Whether the result is a view of the operand's memory. Also of what is refused: nothing is copied."""
    f = FUNCTIONS[name]
    return f.makes != "copy" and (f.makes != "copy if needed" or f.takes(m, n).is_row_major)


def result(name: str, m: int, n: int) -> Strided:
    """Shape, strides and offset of the result in the memory it lies in. Not defined where the function is refused."""
    f = FUNCTIONS[name]
    taken = f.takes(m, n)
    shape = (taken.size,) if f.flat else taken.shape
    if not shares_storage(name, m, n):
        return Strided(shape, steps(shape))
    return Strided(shape, (1,), taken.offset) if f.flat else taken
