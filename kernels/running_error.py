"""Numbers that carry a bound of their error: a formula evaluated with them yields its value in fp64 and how far a computation in a
narrower format may lie from it.

Running error analysis (Higham 2002, "Accuracy and Stability of Numerical Algorithms", section 3.3): each operation passes its operands'
errors on and adds one rounding. The bounds are worst cases, to all orders.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

Tensor = torch.Tensor


@dataclass(frozen=True)
class Rounded:
    """A value and the largest |computed − value|, fp64 tensors that broadcast. An operation rounds its result by at most
    unit · |result| + tiny."""

    value: Tensor
    error: Tensor
    unit: float
    tiny: float

    def _result(self, value: Tensor, error: Tensor) -> Rounded:
        return Rounded(value, error + self.unit * (value.abs() + error) + self.tiny, self.unit, self.tiny)

    def _lift(self, other: Rounded | float) -> Rounded:
        """A Python number is a constant, rounded to the format: some kernels multiply by it as they would by a tensor."""
        if isinstance(other, Rounded):
            return other
        constant = torch.full((), other, dtype=torch.float64, device=self.value.device)
        return Rounded(constant, self.unit * constant.abs(), self.unit, self.tiny)

    def __add__(self, other: Rounded | float) -> Rounded:
        right = self._lift(other)
        return self._result(self.value + right.value, self.error + right.error)

    def __sub__(self, other: Rounded | float) -> Rounded:
        right = self._lift(other)
        return self._result(self.value - right.value, self.error + right.error)

    def __mul__(self, other: Rounded | float) -> Rounded:
        right = self._lift(other)
        error = self.value.abs() * right.error + right.value.abs() * self.error + self.error * right.error
        return self._result(self.value * right.value, error)

    __rmul__: Callable[[Rounded, float], Rounded] = __mul__

    def __truediv__(self, other: Rounded | float) -> Rounded:
        """Infinitely wrong where the divisor's error reaches zero."""
        right = self._lift(other)
        quotient = self.value / right.value
        return self._result(quotient, (self.error + quotient.abs() * right.error) / (right.value.abs() - right.error).clamp(min=0))

    def sqrt(self) -> Rounded:
        """Of a value that is not negative; its slope is steepest on the lower side."""
        root = self.value.sqrt()
        return self._result(root, root - (self.value - self.error).clamp(min=0).sqrt())
