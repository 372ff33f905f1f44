"""The axis letters of heed, written once.

====== ==========================================================
letter axis
====== ==========================================================
``B``  batch: prompts read together
``L``  attention layer
``H``  query head
``K``  key-value head; ``H = K * G`` with ``G`` query heads a group
``Q``  query row: the token that attends
``T``  key column: the token attended to
``D``  width of a head
``S``  span: a named stretch of tokens
====== ==========================================================

A signature states its shape with them (``Float[Tensor, "B H Q T"]``); the test suite checks these
shapes at run time, ordinary use does not. This module knows nothing of torch: the types here are
the numpy values in which a reading ends.
"""

import numpy as np
from jaxtyping import Float

SpanMass = Float[np.ndarray, "B L H S"]
"""Attention mass of one query row on each span, in [0, 1]."""

HeadWeights = Float[np.ndarray, "L H"]
"""How much each head counts in a reading; zero where it is not listened to."""
