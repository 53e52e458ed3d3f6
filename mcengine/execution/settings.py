"""The `execution` argument of `estimate`."""

import os
from collections.abc import Callable, Iterable
from numbers import Integral
from typing import Any

import equinox as eqx
import jax
from jax.sharding import NamedSharding, PartitionSpec


def _whole(name: str, or_none: bool = False) -> Callable[[Any], Any]:
    """A converter to int that refuses, by the field's name, what is no whole number."""

    def convert(value: Any) -> Any:
        if value is None and or_none:
            return None
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise TypeError(f"Execution: {name} must be an int, got {value!r}.")
        return int(value)

    return convert


def _devices(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, jax.sharding.Mesh):
        return value
    devices = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (value,)
    if not all(isinstance(device, jax.Device) for device in devices):
        raise TypeError(f"Execution: devices must be JAX devices such as jax.devices('gpu'), got {value!r}.")
    return devices


class Execution(eqx.Module):
    """How the work is done. None of it changes what is estimated, and only `block_size` changes the bits.

    **Arguments:** `block_size`, samples per block, a power of two (by default 2^18, less for few samples, many outputs
    or many dimensions); `blocks_per_call`, blocks per device call; `progress(done, total)`, called after each device
    call with sample counts (`total` is None under a `Seconds` budget); `threads`, device calls under way at once, by
    default one per core on CPU and two per device elsewhere (one computes while the other's rows are merged);
    `devices`, JAX devices that share the calls, by default all local ones of the default backend, each call on the
    next: blocks need nothing of each other, and rows are merged in their order. Or a `jax.sharding.Mesh`: the blocks
    of every call are dealt out to all its devices by `jax.shard_map`, whatever its shape and whichever processes they
    belong to; every process then makes the same calls and has the same result (not under a `Seconds` budget, whose
    calls are as many as its own clock says). A mesh takes one call at a time, whatever `threads` says. Inside a trace
    the caller's own transformations say where the work is done.
    """

    block_size: int | None = eqx.field(static=True, default=None, converter=_whole("block_size", or_none=True))
    blocks_per_call: int = eqx.field(static=True, default=32, converter=_whole("blocks_per_call"))
    progress: Callable[[int, int | None], None] | None = eqx.field(static=True, default=None)
    threads: int | None = eqx.field(static=True, default=None, converter=_whole("threads", or_none=True))

    devices: tuple[Any, ...] | jax.sharding.Mesh | None = eqx.field(static=True, default=None, converter=_devices)

    def __check_init__(self):
        if isinstance(self.devices, tuple) and not self.devices:
            raise ValueError("Execution: devices is empty; None stands for all of them.")
        if self.mesh is not None and not (self.mesh.size and self.mesh.axis_names):
            raise ValueError(f"Execution: devices is a mesh without devices or axes, {self.mesh}.")
        size = self.block_size
        if size is not None and (size < 1 or size & (size - 1)):
            raise ValueError(f"Execution: block_size must be a power of two, got {size}.")
        if self.blocks_per_call < 1:
            raise ValueError(f"Execution: blocks_per_call must be at least 1, got {self.blocks_per_call}.")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"Execution: threads must be at least 1, got {self.threads}.")

    @property
    def mesh(self) -> jax.sharding.Mesh | None:
        """The mesh over which every call is spread, where one was given."""
        return self.devices if isinstance(self.devices, jax.sharding.Mesh) else None

    @property
    def places(self) -> tuple[Any, ...]:
        """Where the numbers of a call go, for calls in turn: devices, or a mesh, all of which takes part in every call.

        None leaves them where they are: of a mesh across processes, each has its own copy.
        """
        if isinstance(self.devices, jax.sharding.Mesh):
            return (None if self.devices.is_multi_process else NamedSharding(self.devices, PartitionSpec()),)
        return tuple(jax.local_devices()) if self.devices is None else self.devices

    @property
    def num_threads(self) -> int:
        """How many device calls are under way at once."""
        if self.mesh is not None:
            return 1  # devices that wait for each other must all take the calls in one order
        if self.threads is not None:
            return self.threads
        devices = self.places
        if devices[0].platform == "cpu" and hasattr(os, "sched_getaffinity"):
            return max(len(devices), len(os.sched_getaffinity(0)))
        return 2 * len(devices)
