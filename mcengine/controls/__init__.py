"""Control variates: quantities whose mean is known take their share of the variance away."""

from mcengine.controls.controls import Components as Components
from mcengine.controls.controls import Controls as Controls
