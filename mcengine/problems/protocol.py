"""What the engine asks of a problem."""

import dataclasses
from typing import Any


def without_answers(problem: Any) -> Any:
    """The problem without `exact` and `exact_law`: they must not reach the kernels, more numbers to carry."""
    known = {name: None for name in ("exact", "exact_law") if getattr(problem, name, None) is not None}
    return dataclasses.replace(problem, **known) if known else problem
