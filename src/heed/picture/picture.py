"""`show`: what a result says about itself, as a picture for terminals, files and notebooks.

Comes in: anything with a ``scene()`` (a verdict, a citation, a trace), or a `Scene`. Goes out: a
`Picture`. Knows neither models nor what the numbers mean.
"""

import os
import tempfile
from dataclasses import dataclass
from html import escape
from pathlib import Path

from heed.errors import InputError
from heed.picture.page import page
from heed.picture.plain import plain
from heed.picture.visible import spelled
from heed.text.evidence import Drawable, Scene


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A scene that can be drawn: ``str(picture)`` is text, a notebook shows the page."""

    scene: Scene

    def text(self, *, width: int = 100, colour: bool = False) -> str:
        """The picture as terminal text.

        Parameters
        ----------
        width
            Cells of a terminal line, at least 40.
        colour
            Use ANSI colours.

        Raises
        ------
        InputError
            If the width is too small, or a number of the scene cannot be drawn.
        """
        return plain(self.scene, width=width, colour=colour)

    def html(self, path: str | Path | None = None) -> str:
        """The picture as one self-contained HTML page: no script, nothing fetched.

        Parameters
        ----------
        path
            Also write the page there, whole or not at all.

        Raises
        ------
        InputError
            If the path's folder does not exist or the path is a folder, or a number of the scene
            cannot be drawn.
        """
        drawn = page(self.scene)
        if path is not None:
            _write(Path(path), drawn)
        return drawn

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return (
            f'<iframe sandbox srcdoc="{escape(self.html())}" title="{escape(spelled(self.scene.title))}" '
            'style="width:100%;height:640px;border:0;resize:vertical;overflow:auto"></iframe>'
        )


def show(result: Drawable | Scene) -> Picture:
    """Make a picture of a result.

    Parameters
    ----------
    result
        A verdict, a citation, a trace, anything else with a method ``scene()``, or a `Scene`.

    Raises
    ------
    InputError
        If the result cannot describe itself as a scene.
    """
    if isinstance(result, Scene):
        return Picture(result)
    describe = None if isinstance(result, type) else getattr(result, "scene", None)
    scene = describe() if callable(describe) else None
    if not isinstance(scene, Scene):
        found = f"the class {result.__name__}" if isinstance(result, type) else type(result).__name__
        raise InputError(
            "expected something to show: a verdict, a citation, a trace, a Scene, or an object whose scene() "
            f"returns one; found {found}"
        )
    return Picture(scene)


def _write(path: Path, text: str) -> None:
    if not path.parent.is_dir():
        raise InputError(
            f"expected a folder {str(path.parent)!r} to write {path.name!r} in, found none; create it first"
        )
    if path.is_dir():
        raise InputError(f"expected the path of a file, found the folder {str(path)!r}; add a file name")
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
        Path(partial).chmod(0o644)
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
