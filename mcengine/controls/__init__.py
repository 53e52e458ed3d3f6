"""Control variates: quantities with known means, which reduce the variance."""

from mcengine.controls.controls import Components as Components
from mcengine.controls.controls import Controls as Controls
from mcengine.controls.controls import ControlVariates as ControlVariates
