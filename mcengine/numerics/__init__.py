"""Number formats, random words, elementary functions, and what JAX and its compiler need. No room lies below.

- numbers: `formats` (float32 or float64, powers of two), `arrays` (NumPy or JAX), `exact_sums`, `log_space`;
- randomness: `generator` (words from key, coordinate and counter), `uniforms` (exact in both tails);
- functions: `elementary` (log, sin, cos, the normal quantile), `over_samples` (a function of one sample on many),
  `jumps` (functions that must not be differentiated);
- compiling: `compiler` (options; values that must not be computed twice), `partition` (numbers apart from the static
  part that keys the caches), `tracing` (whether values are traced), `values` (parameters as arrays, and back);
- `deprecation`: old names that still work.
"""

from mcengine.numerics.arrays import AnyArray as AnyArray
from mcengine.numerics.arrays import namespace as namespace
from mcengine.numerics.compiler import KERNEL_OPTIONS as KERNEL_OPTIONS
from mcengine.numerics.compiler import fence as fence
from mcengine.numerics.elementary import log_of_normal as log_of_normal
from mcengine.numerics.elementary import normal_quantile as normal_quantile
from mcengine.numerics.elementary import polynomial as polynomial
from mcengine.numerics.elementary import sin_cos_of_turn as sin_cos_of_turn
from mcengine.numerics.formats import LOG2_E as LOG2_E
from mcengine.numerics.formats import float_dtype as float_dtype
from mcengine.numerics.formats import minus_log_2_times as minus_log_2_times
from mcengine.numerics.formats import two_to as two_to
from mcengine.numerics.generator import Generator as Generator
from mcengine.numerics.generator import random_words as random_words
from mcengine.numerics.jumps import refuse_derivative as refuse_derivative
from mcengine.numerics.over_samples import over_samples as over_samples
from mcengine.numerics.uniforms import centred_uniform as centred_uniform
from mcengine.numerics.uniforms import from_unit as from_unit
from mcengine.numerics.uniforms import log_lower as log_lower
from mcengine.numerics.uniforms import log_upper as log_upper
from mcengine.numerics.uniforms import to_unit as to_unit
