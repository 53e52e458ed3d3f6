"""The `execution` argument of `estimate`."""

import os
from collections.abc import Callable, Iterable
from numbers import Integral

import equinox as eqx
import jax
from jax.sharding import NamedSharding, PartitionSpec


def _whole(name: str, or_none: bool = False) -> Callable[[int | None], int | None]:
    """A converter to int that raises, by the name of the field, for other types."""

    def convert(value: int | None) -> int | None:
        if value is None and or_none:
            return None
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise TypeError(f"Execution: {name} must be an int, got {value!r}.")
        return int(value)

    return convert


def _devices(
    value: jax.Device | Iterable[jax.Device] | jax.sharding.Mesh | None,
) -> tuple[jax.Device, ...] | jax.sharding.Mesh | None:
    if value is None:
        return None
    if isinstance(value, jax.sharding.Mesh):
        return value
    devices = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (value,)
    if not all(isinstance(device, jax.Device) for device in devices):
        raise TypeError(f"Execution: devices must be JAX devices such as jax.devices('gpu'), got {value!r}.")
    return devices


class Execution(eqx.Module):
    """How the work is done. No field changes what is estimated, and only `block_size` changes the bits.

    **Arguments:**

    - `block_size`: samples per block, a power of two (by default 2^18, less for few samples, many outputs or many
      dimensions).
    - `blocks_per_call`: blocks per device call.
    - `progress(done, total)`: called after each device call with sample counts (`total` is None under a `Seconds`
      budget).
    - `threads`: device calls in flight at once, by default one per core on CPU and two per device elsewhere (one
      computes while the summaries of the other merge).
    - `devices`: JAX devices that take the calls in turn, by default all local ones of the default backend. Blocks do
      not depend on each other, and summaries merge in the order of the blocks. Or a `jax.sharding.Mesh`, of any shape
      and across processes: its devices take the blocks of every call in turn, by `jax.shard_map`. Every process then
      makes the same calls and has the same result (except under a `Seconds` budget, where each counts by its own
      clock). A mesh takes one call at a time, whatever `threads` says.

    Inside a trace the caller's transformations decide where the work is done.
    """

    block_size: int | None = eqx.field(static=True, default=None, converter=_whole("block_size", or_none=True))
    blocks_per_call: int = eqx.field(static=True, default=32, converter=_whole("blocks_per_call"))
    progress: Callable[[int, int | None], None] | None = eqx.field(static=True, default=None)
    threads: int | None = eqx.field(static=True, default=None, converter=_whole("threads", or_none=True))

    devices: tuple[jax.Device, ...] | jax.sharding.Mesh | None = eqx.field(
        static=True, default=None, converter=_devices
    )

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
    def places(self) -> tuple[jax.Device | NamedSharding | None, ...]:
        """Where the numbers of a call go: the devices, for calls in turn, or the mesh, which takes part in every call.

        None leaves them where they are: every process of a mesh has its own copy.
        """
        if isinstance(self.devices, jax.sharding.Mesh):
            return (None if self.devices.is_multi_process else NamedSharding(self.devices, PartitionSpec()),)
        return tuple(jax.local_devices()) if self.devices is None else self.devices

    @property
    def num_threads(self) -> int:
        """How many device calls are in flight at once."""
        if self.mesh is not None:
            return 1  # the devices of a mesh wait for each other, so all must take the calls in one order
        if self.threads is not None:
            return self.threads
        devices = self.devices if isinstance(self.devices, tuple) else tuple(jax.local_devices())
        if devices[0].platform == "cpu" and hasattr(os, "sched_getaffinity"):
            return max(len(devices), len(os.sched_getaffinity(0)))
        return 2 * len(devices)
