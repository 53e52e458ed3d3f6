"""How a run is cut into blocks, compiled and driven. Devices and executors are further files here."""

from mcengine.execution.settings import Execution as Execution
