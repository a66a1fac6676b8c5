"""The array types the package speaks in. Shapes are in the docstrings: m models, n cases, s sites."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]
