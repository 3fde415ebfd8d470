"""What a step of the executor example can do: safe arithmetic and text, each result of a bounded size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

from agent_service.plurals import count_text

MAX_MAGNITUDE = 1e300
MAX_TEXT_LENGTH = 100_000
MAX_ARGUMENTS = 100
MAX_DIGITS = 15

Value = int | float | str


class OperationFailed(ValueError):
    """An operation cannot be done with these arguments; the message says what to change."""


@dataclass(frozen=True)
class Operation:
    """A function, what its arguments must be, and how many of them it takes."""

    function: Callable[..., Value]
    kind: type[str] | type[float]
    least: int
    most: int

    def __call__(self, arguments: Sequence[Any]) -> Value:
        """The bounded result. Raises `OperationFailed`."""
        self._check_count(len(arguments))
        try:
            return bounded(self.function(*(self._argument(argument) for argument in arguments)))
        except ZeroDivisionError:
            raise OperationFailed("it divides by zero; change the divisor") from None
        except OverflowError:
            raise OperationFailed("its result is too large; use smaller numbers") from None

    def _check_count(self, count: int) -> None:
        if not self.least <= count <= self.most:
            least = "" if self.most == self.least else f"{self.least} to "
            raise OperationFailed(
                f"it takes {least}{count_text(self.most, 'argument')} and got {count}; correct 'args'"
            )

    def _argument(self, value: Any) -> Value:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if self.kind is str and not isinstance(value, str):
            raise OperationFailed(f"it takes text and got {_short(value)}; put the text in quotes")
        if self.kind is float and not is_number:
            raise OperationFailed(f"it takes numbers and got {_short(value)}; write a number or $NUMBER of a step")
        return bounded(value)


def bounded(value: Any) -> Value:
    """`value`, when it is a finite number or text of a size that further steps can take."""
    if isinstance(value, str):
        if len(value) > MAX_TEXT_LENGTH:
            raise OperationFailed(f"text over {MAX_TEXT_LENGTH} characters; use shorter text")
        return value
    if isinstance(value, float) and not math.isfinite(value):
        raise OperationFailed("a number that is not finite; use smaller numbers")
    if isinstance(value, (int, float)) and abs(value) <= MAX_MAGNITUDE:
        return value
    raise OperationFailed("a number beyond ±1e300 or no number at all; use smaller numbers")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:39] + "…"


def _round(number: float, digits: float = 0) -> float:
    if digits not in range(MAX_DIGITS + 1):
        raise OperationFailed(f"it rounds to 0 to {MAX_DIGITS} digits; change the second argument")
    return round(number, int(digits))


def _power(base: float, exponent: float) -> float:
    # Before the calculation: a result of a billion digits would be made before it could be refused.
    if base and exponent * math.log10(abs(base)) > 300:
        raise OverflowError
    result: float | complex = base**exponent
    if isinstance(result, complex):
        raise OperationFailed("a negative number has no such root; use a whole exponent")
    return result


def _replace(text: str, old: str, new: str) -> str:
    if not old:
        raise OperationFailed("there is no text to look for; give it as the second argument")
    if len(text) + text.count(old) * (len(new) - len(old)) > MAX_TEXT_LENGTH:
        raise OperationFailed(f"text over {MAX_TEXT_LENGTH} characters; use shorter text")
    return text.replace(old, new)


OPERATIONS: dict[str, Operation] = {
    "add": Operation(lambda *numbers: reduce(add, numbers), float, 2, MAX_ARGUMENTS),
    "subtract": Operation(lambda left, right: left - right, float, 2, 2),
    "multiply": Operation(
        lambda *numbers: reduce(lambda left, right: bounded(left * right), numbers), float, 2, MAX_ARGUMENTS
    ),
    "divide": Operation(lambda left, right: left / right, float, 2, 2),
    "remainder": Operation(lambda left, right: left % right, float, 2, 2),
    "power": Operation(_power, float, 2, 2),
    "round": Operation(_round, float, 1, 2),
    "minimum": Operation(min, float, 2, MAX_ARGUMENTS),
    "maximum": Operation(max, float, 2, MAX_ARGUMENTS),
    "upper": Operation(str.upper, str, 1, 1),
    "lower": Operation(str.lower, str, 1, 1),
    "title": Operation(str.title, str, 1, 1),
    "trim": Operation(str.strip, str, 1, 1),
    "reverse": Operation(lambda text: text[::-1], str, 1, 1),
    "concat": Operation(lambda *texts: "".join(texts), str, 1, MAX_ARGUMENTS),
    "replace": Operation(_replace, str, 3, 3),
    "length": Operation(len, str, 1, 1),
}
