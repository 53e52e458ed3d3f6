"""Old names that still work for one release, with a `DeprecationWarning`."""

import sys
import warnings
from collections.abc import Callable, Mapping


def deprecated_names(module: str, renamed: Mapping[str, str]) -> Callable[[str], object]:
    """The `__getattr__` of a module some of whose names have changed.

    **Arguments:** `module`, its `__name__`; `renamed`, from old names to new ones, both of that module.
    """

    def module_getattr(name: str) -> object:
        if name not in renamed:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warnings.warn(
            f"{module}.{name} is now {module}.{renamed[name]}; the old name goes away with the next release.",
            DeprecationWarning,
            stacklevel=2,
        )
        return getattr(sys.modules[module], renamed[name])

    return module_getattr
