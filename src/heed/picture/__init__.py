"""Pictures: draws scenes as terminal text, as self-contained HTML pages, as figures, and in notebooks."""

from heed.picture.array import array_scene, load_array
from heed.picture.picture import Picture, check_target, figure, show
from heed.picture.synthetic import synthetic

__all__ = ["Picture", "array_scene", "check_target", "figure", "load_array", "show", "synthetic"]
