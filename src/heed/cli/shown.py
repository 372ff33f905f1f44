"""What `heed show` is asked for beside its input, and how it hands the picture over: text, files, a server."""

import webbrowser
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from heed.cli.options import DeviceOption, DtypeOption, JsonOption, ModelOption
from heed.cli.output import print_json, print_picture, tell, working
from heed.errors import InputError

if TYPE_CHECKING:
    from heed.picture import Picture
    from heed.text.attention import AttentionScene

ViewName = Literal["map", "heads", "tokens", "flow"]
KindName = Literal["map", "heads", "entropy", "focus", "flow"]
Target = Path | None


@dataclass(frozen=True, slots=True)
class Read:
    """How a text is read."""

    model: ModelOption = "embedded"
    dtype: DtypeOption = "auto"
    device: DeviceOption = None
    surrogate: Annotated[
        str | None,
        typer.Option("--surrogate", metavar="NAME", help="Model to read instead, marked so, if MODEL cannot be read."),
    ] = None
    new_tokens: Annotated[int, typer.Option("--new-tokens", min=0, help="Let the model add so many tokens.")] = 0
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help="Keep the analysis, and look for it first.")] = True
    save_trace: Annotated[Target, typer.Option("--save-trace", metavar="FILE", help="Also write the trace.")] = None


@dataclass(frozen=True, slots=True)
class Opened:
    """What is open first."""

    layer: Annotated[int | None, typer.Option("--layer", help="The layer; else the middle one.")] = None
    head: Annotated[int, typer.Option("--head", min=-1, help="The head; -1: the mean of all.")] = -1
    view: Annotated[ViewName, typer.Option("--view", help="The view of the page, and of an image.")] = "map"


@dataclass(frozen=True, slots=True)
class Output:
    """Where the picture goes."""

    html: Annotated[Target, typer.Option("--html", metavar="FILE", help="Write a page that needs no network.")] = None
    full: Annotated[bool, typer.Option("--full", help="Exact numbers in the page, twice as large.")] = False
    png: Annotated[Target, typer.Option("--png", metavar="FILE", help="Write an image (extra `figures`).")] = None
    svg: Annotated[Target, typer.Option("--svg", metavar="FILE", help="Write a drawing (extra `figures`).")] = None
    figure: Annotated[KindName | None, typer.Option("--figure", help="What the image shows; else the view.")] = None
    open: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False
    serve: Annotated[bool, typer.Option("--serve", help="Serve the page until Ctrl-C (extra `serve`).")] = False
    host: Annotated[str, typer.Option("--host", help="Where to serve; else for this machine alone.")] = "127.0.0.1"
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Where to serve; 0: any free port.")] = 0
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="NAME", help="A further name the server may be called by; repeatable."),
    ] = None
    as_json: JsonOption = False

    def check(self, opened: Opened, *more: Target) -> None:
        """Refuse what cannot be had, before any model is loaded.

        Raises
        ------
        typer.BadParameter
            If options contradict each other.
        InputError
            If a file could not be written.
        """
        from heed.picture import check_target

        if self.open and self.html is None and not self.serve:
            raise typer.BadParameter("expected --html FILE or --serve beside it, found neither", param_hint="--open")
        if self.allow_host and not self.serve:
            raise typer.BadParameter("expected --serve beside it, found it alone", param_hint="--allow-host")
        if opened.view == "tokens" and self.figure is None and (self.png or self.svg):
            raise typer.BadParameter("expected map, heads or flow for an image: see --figure", param_hint="--view")
        targets = [path for path in (self.html, self.png, self.svg, *more) if path is not None]
        if len({path.absolute() for path in targets}) < len(targets):
            raise typer.BadParameter(
                "expected a file for each, found one named twice", param_hint="--html, --png, --svg"
            )
        for path in targets:
            check_target(path, overwrite=self.force)


def draw(scene: "AttentionScene", opened: Opened, out: Output) -> None:
    """Hand a picture over as it was asked for; on the terminal if nothing else was.

    Raises
    ------
    InputError
        If it cannot be drawn or written so.
    """
    from heed.picture import show

    if opened.view == "flow" and scene.flow is None:
        raise InputError(
            "expected named parts for the flow between them, found a text without: give a conversation (--chat) or "
            "some sentences"
        )
    picture = show(replace(scene, view=opened.view))
    written = _write(picture, opened, out)
    if out.as_json:
        print_json(_record(scene, written))
    elif not written and not out.serve:
        print_picture(picture)
    else:
        for path in written.values():
            print(path)
    if out.open and out.html is not None:
        webbrowser.open(out.html.absolute().as_uri())
    if out.serve:
        _serve(picture, out)


def _write(picture: "Picture", opened: Opened, out: Output) -> dict[str, str]:
    """Write the files; return their paths by kind."""
    kind: Any = out.figure or opened.view
    with working("drawing"):
        if out.html is not None:
            picture.html(out.html, precision="full" if out.full else "auto", overwrite=out.force)
        if out.png is not None:
            picture.png(out.png, kind=kind, overwrite=out.force)
        if out.svg is not None:
            picture.svg(out.svg, kind=kind, overwrite=out.force)
    targets = {"html": out.html, "png": out.png, "svg": out.svg}
    return {name: str(path) for name, path in targets.items() if path is not None}


def _serve(picture: "Picture", out: Output) -> None:
    with picture.serve(host=out.host, port=out.port, hosts=out.allow_host or ()) as served:
        print(served.url, flush=True)
        tell("serving until Ctrl-C")
        if out.open:
            webbrowser.open(served.url)
        served.wait()
    tell(f"the page that is open finds the server again with: --port {served.port}")


def _record(scene: "AttentionScene", written: dict[str, str]) -> dict[str, Any]:
    """What is known of the picture, JSON-ready; NaN as null."""
    from heed.picture.viewer_scene import numbers

    return {
        "title": scene.title,
        "kind": scene.kind,
        "model": scene.model,
        "tokens": list(scene.tokens),
        "layers": list(scene.layers),
        "heads": list(scene.heads),
        "exactness": scene.exactness,
        "watermark": scene.watermark,
        "cached": any(label == "cached" for label, _ in scene.facts),
        "statistics": {statistic.key: numbers(statistic.values) for statistic in scene.statistics},
        "notes": list(scene.notes),
        **written,
    }
