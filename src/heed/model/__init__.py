"""Models: brought, loaded, described and told apart. What comes in is a name or a transformers model; out goes a Model.

Knows nothing of prompts, and nothing of how attention is read.
"""

from heed.model.anatomy import Anatomy
from heed.model.load import load
from heed.model.model import Model, wrap

__all__ = ["Anatomy", "Model", "load", "wrap"]
