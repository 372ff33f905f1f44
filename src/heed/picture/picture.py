"""`show`: what a result says about itself, as a picture for terminals, files and notebooks.

Comes in: anything with a ``scene()`` (a verdict, a citation, a trace, a layer's view), or a scene. Goes out: a
`Picture`. Knows neither models nor what the numbers mean.
"""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heed.errors import InputError
from heed.picture.export import Precision, embedded
from heed.picture.page import page
from heed.picture.plain import plain
from heed.picture.summary import summary
from heed.picture.viewer_page import viewer_page
from heed.picture.viewer_scene import viewer_scene
from heed.picture.visible import spelled
from heed.text.attention import AttentionScene
from heed.text.evidence import Drawable, Scene

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from heed.picture.figures import FigureKind, Scored
    from heed.picture.serve import Served

_IN_A_NOTEBOOK = 4_000_000
"""Characters of a page that a notebook keeps with every picture; a larger one is shown without its maps."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A scene that can be drawn: ``str(picture)`` is text, a notebook shows the page."""

    scene: Scene | AttentionScene

    def text(self, *, width: int = 100, colour: bool = False) -> str:
        """The picture as terminal text; of maps, what the last token attends to, and one number of every head.

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
        return plain(self._marked(), width=width, colour=colour)

    def html(
        self,
        path: str | Path | None = None,
        *,
        layers: Sequence[int] | None = None,
        precision: Precision = "auto",
        overwrite: bool = True,
    ) -> str:
        """The picture as one self-contained HTML page that fetches nothing.

        A verdict's or citation's page runs no script. Maps come with the viewer and their numbers inside.

        Parameters
        ----------
        path
            Also write the page there, whole or not at all.
        layers
            Which layers' maps it holds; by default all, or if these are too much the one that is open first.
        precision
            ``full``: exact numbers; ``half``: 16 bits; ``auto``: exact for one layer. The page says which.
        overwrite
            Replace a file that is there.

        Raises
        ------
        InputError
            If the path cannot be written or a file is there that must not be replaced, the scene has no such layer,
            the maps are too large for a page, or a number of the scene cannot be drawn.
        """
        target = None if path is None else check_target(Path(path), overwrite=overwrite)
        if isinstance(self.scene, AttentionScene):
            found = embedded(self.scene, layers=layers, precision=precision)
            drawn = viewer_page(viewer_scene(found.scene), found.data, instead=self.text())
        else:
            drawn = page(self.scene)
        if target is not None:
            _write(target, drawn.encode())
        return drawn

    def figure(self, kind: "FigureKind | None" = None) -> "Figure":
        """The picture as a Matplotlib figure; see `heed.figure`."""
        from heed.picture.figures import draw

        return draw(self.scene, kind=kind)

    def png(self, path: str | Path | None = None, *, kind: "FigureKind | None" = None, overwrite: bool = True) -> bytes:
        """The figure as a PNG image.

        Raises
        ------
        InputError
            If the path cannot be written or a file is there that must not be replaced, or there is no such kind.
        ExtraMissingError
            If Matplotlib is not installed.
        """
        return self._image("png", path, kind, overwrite=overwrite)

    def svg(self, path: str | Path | None = None, *, kind: "FigureKind | None" = None, overwrite: bool = True) -> bytes:
        """The figure as an SVG image: the same scene gives the same bytes.

        Raises
        ------
        InputError
            As `png`.
        ExtraMissingError
            If Matplotlib is not installed.
        """
        return self._image("svg", path, kind, overwrite=overwrite)

    def serve(self, **options: Any) -> "Served":
        """Serve the page from this process; see `heed.picture.serve.serve`."""
        from heed.picture.serve import serve

        return serve(self._maps(), **options)

    def widget(self, **options: Any) -> Any:
        """The picture as a notebook widget, which asks this process for the tiles it shows (extra ``notebook``)."""
        from heed.picture.widget import widget

        return widget(self._maps(), **options)

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        """In an iframe of its own origin: what a page does cannot reach the notebook."""
        scripts = ""
        if isinstance(self.scene, AttentionScene):
            drawn, scripts = self.html(), "=allow-scripts"
            if len(drawn) > _IN_A_NOTEBOOK:
                drawn, scripts = page(self._marked()), ""
        else:
            drawn = self.html()
        return (
            f'<iframe sandbox{scripts} srcdoc="{escape(drawn)}" title="{escape(spelled(self.scene.title))}" '
            'style="width:100%;height:640px;border:0;resize:vertical;overflow:auto"></iframe>'
        )

    def _repr_mimebundle_(self, **options: Any) -> Mapping[str, Any]:
        """The widget where maps can be asked for and anywidget is installed; else the page."""
        if isinstance(self.scene, AttentionScene) and find_spec("anywidget") is not None:
            bundle = self.widget()._repr_mimebundle_(**options)
            return bundle[0] if isinstance(bundle, tuple) else bundle or {}
        return {"text/html": self._repr_html_(), "text/plain": self.text()}

    def _marked(self) -> Scene:
        return summary(self.scene) if isinstance(self.scene, AttentionScene) else self.scene

    def _maps(self) -> AttentionScene:
        if not isinstance(self.scene, AttentionScene):
            raise InputError("expected attention maps to ask for, found marked texts: use .html() or .text()")
        return self.scene

    def _image(self, form: str, path: str | Path | None, kind: "FigureKind | None", *, overwrite: bool) -> bytes:
        target = None if path is None else check_target(Path(path), overwrite=overwrite)
        from heed.picture.figures import image

        drawn = image(self.figure(kind), form)
        if target is not None:
            _write(target, drawn)
        return drawn


def show(result: Drawable | Scene | AttentionScene, *, evidence: Drawable | Scene | None = None) -> Picture:
    """Make a picture of a result.

    Parameters
    ----------
    result
        A verdict, a citation, a trace, a layer's view, anything else with a method ``scene()``, or a scene.
    evidence
        Beside a trace: a verdict or a citation about the same text. The page then has it as a view of its own, its
        marks linked with the maps, and shows how well each head alone finds them.

    Raises
    ------
    InputError
        If the result cannot describe itself as a scene, or the evidence is about a text that the trace does not hold.
    """
    if evidence is None:
        return Picture(scene_of(result))
    marked, describe = scene_of(evidence), getattr(result, "scene", None)
    if not isinstance(marked, Scene) or not callable(describe) or not hasattr(result, "views"):
        raise InputError(
            f"expected a trace, and a verdict or a citation as its evidence; found {type(result).__name__} and "
            f"{type(evidence).__name__}"
        )
    return Picture(describe(evidence=marked))


def figure(result: "Drawable | Scene | AttentionScene | Scored", *, kind: "FigureKind | None" = None) -> "Figure":
    """A Matplotlib figure of a result (extra ``figures``). Nothing but its caller holds on to it: no need to close it.

    Parameters
    ----------
    result
        What `show` takes; or an `Evaluation` of a guard, or its judged rows.
    kind
        Of maps: ``map`` (default), ``heads``, ``entropy``, ``focus``, ``flow``. Of verdicts and citations:
        ``evidence`` (default), ``heads``. Of judged rows: ``roc`` (default), ``focus``.

    Raises
    ------
    InputError
        If the result cannot be drawn, or not as this kind.
    ExtraMissingError
        If Matplotlib is not installed.
    """
    from heed.picture.figures import draw

    judged: Any = getattr(result, "judged", result)
    if all(hasattr(judged, name) for name in ("labels", "ranks", "scores")):
        return draw(judged, kind=kind)
    shown: Any = result
    return draw(scene_of(shown), kind=kind)


def scene_of(result: Drawable | Scene | AttentionScene) -> Scene | AttentionScene:
    """The scene of a result.

    Raises
    ------
    InputError
        If it has none.
    """
    if isinstance(result, Scene | AttentionScene):
        return result
    describe = None if isinstance(result, type) else getattr(result, "scene", None)
    scene = describe() if callable(describe) else None
    if not isinstance(scene, Scene | AttentionScene):
        found = f"the class {result.__name__}" if isinstance(result, type) else type(result).__name__
        raise InputError(
            "expected something to show: a verdict, a citation, a trace, a Scene, or an object whose scene() "
            f"returns one; found {found}"
        )
    return scene


def check_target(path: Path, *, overwrite: bool) -> Path:
    """The path of a file that can be written; anything else is refused before the work is done.

    Raises
    ------
    InputError
        If its folder does not exist, it is a folder, or it exists and must not be replaced.
    """
    if not path.parent.is_dir():
        raise InputError(
            f"expected a folder {str(path.parent)!r} to write {path.name!r} in, found none; create it first"
        )
    if path.is_dir():
        raise InputError(f"expected the path of a file, found the folder {str(path)!r}; add a file name")
    if path.exists() and not overwrite:
        raise InputError(f"expected no file at {str(path)!r}, found one; choose another name, or `--force`")
    return path


def _write(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all."""
    try:
        _replace(path, content)
    except OSError as error:
        raise InputError(f"expected to write {str(path)!r}, found: {error}; choose another place") from error


def _replace(path: Path, content: bytes) -> None:
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(partial).chmod(0o644)
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
