"""Pictures: draws scenes as terminal text and as one self-contained HTML page."""

from heed.picture.picture import Picture, show

__all__ = ["Picture", "show"]
