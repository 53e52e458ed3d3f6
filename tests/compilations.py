"""Which functions XLA compiled in a block of a test: read from what JAX logs, as entries also leave its caches."""

import contextlib
import logging
import re

import jax


class _Compiled(logging.Handler):
    def __init__(self):
        super().__init__(logging.WARNING)
        self.names = []

    def emit(self, record):
        found = re.match(r"Compiling jit\((.+?)\)", record.getMessage())
        if found:
            self.names.append(found[1])


@contextlib.contextmanager
def compilations():
    """A list that fills with the names of the jitted functions compiled inside the `with`."""
    handler, logger = _Compiled(), logging.getLogger("jax")
    logger.addHandler(handler)
    try:
        with jax.log_compiles():
            yield handler.names
    finally:
        logger.removeHandler(handler)
