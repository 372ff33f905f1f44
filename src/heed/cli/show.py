"""`heed show`: a text, a trace or an array comes in; a picture of its attention goes out."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heed.cli.grouped import grouped
from heed.cli.messages import conversation
from heed.cli.options import check_file, load_model, read_text
from heed.cli.output import working
from heed.cli.shown import Opened, Output, Read, draw
from heed.errors import InputError, ModelNotFoundError, UnsupportedModelError

if TYPE_CHECKING:
    from heed.probe import Analysis
    from heed.text.attention import AttentionScene

app = typer.Typer(help="Pictures of attention: of a text, a trace, or an array of your own.", no_args_is_help=True)


@app.command()
@grouped
def text(
    *, words: Annotated[str, typer.Argument(metavar="TEXT", help="The text.")], read: Read, opened: Opened, out: Output
) -> None:
    """Show what a model attends to in a text.

    Exit codes: 0 fine, 2 bad usage or input, 3 could not run.
    """
    out.check(opened, read.save_trace)
    draw(_analysed(words, read, opened), opened, out)


@app.command()
@grouped
def file(
    *,
    path: Annotated[Path, typer.Argument(metavar="FILE|-", help="The text, in UTF-8.")],
    chat: Annotated[
        bool, typer.Option("--chat", help="The file is JSON: a list of messages, or a request that has them.")
    ] = False,
    read: Read,
    opened: Opened,
    out: Output,
) -> None:
    """Show what a model attends to in the text of a file, or in a conversation.

    Exit codes: 0 fine, 2 bad usage or input, 3 could not run.
    """
    out.check(opened, read.save_trace)
    words = read_text(path)
    draw(_analysed(conversation(words, path) if chat else words, read, opened), opened, out)


@app.command()
@grouped
def trace(
    *,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="What `Trace.save` or `--save-trace` wrote.")],
    opened: Opened,
    out: Output,
) -> None:
    """Show a trace that was saved.

    Exit codes: 0 fine, 2 bad usage or input, 3 could not run.
    """
    check_file(path, stdin=False)
    out.check(opened)
    from heed.probe import Trace

    with working("reading the trace"):
        scene = Trace.load(path).scene(layer=opened.layer, head=opened.head)
    draw(scene, opened, out)


@app.command()
@grouped
def array(
    *,
    path: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.npz", help="With `attention`: [batch, heads, seq, seq], [heads, seq, seq] or [seq, seq]."
        ),
    ],
    opened: Opened,
    out: Output,
) -> None:
    """Show attention weights that another program computed; `tokens` in the same file name them.

    What is no attention (rows that do not sum to 1, numbers that are not finite) is refused, with its place. The batch
    can be chosen as layer.

    Exit codes: 0 fine, 2 bad usage or input, 3 could not run.
    """
    check_file(path, stdin=False)
    out.check(opened)
    from heed.picture import array_scene, load_array

    weights, tokens = load_array(path)
    title = f"Attention from {path.name}"
    draw(array_scene(weights, tokens, title=title, layer=opened.layer, head=opened.head), opened, out)


@app.command()
@grouped
def synthetic(
    *,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="uniform, previous, sink, window, induction, blocks, all.")
    ],
    tokens: Annotated[int, typer.Option("--tokens", help="How many tokens, from 1 to 2048.")] = 64,
    opened: Opened,
    out: Output,
) -> None:
    """Show a pattern made by a formula, for teaching; every picture of it is marked SYNTHETIC.

    Exit codes: 0 fine, 2 bad usage or input, 3 could not run.
    """
    out.check(opened)
    from heed.picture import synthetic

    scene = synthetic(name, tokens)
    head = scene.head if opened.head < 0 else opened.head
    draw(replace(scene, layer=opened.layer, head=head), opened, out)


def _analysed(prompt: Any, read: Read, opened: Opened) -> "AttentionScene":
    """The prompt as its model reads it; or as the surrogate does, where that model cannot be read."""
    if isinstance(prompt, str) and not prompt:
        raise InputError("expected a text of at least one character, found an empty one")
    try:
        return _scene(_analysis(read.model, prompt, read), opened)
    except (UnsupportedModelError, ModelNotFoundError) as error:
        if read.surrogate is None:
            raise type(error)(
                f"{error}; or see how another model reads it, marked as such: --surrogate embedded"
            ) from error
        surrogate = _scene(_analysis(read.surrogate, prompt, read), opened)
        return surrogate.surrogate_for(read.model, str(error))


def _analysis(name: str, prompt: Any, read: Read) -> "Analysis":
    model = load_model(name, dtype=read.dtype, device=read.device)
    from heed.probe import analyse

    with working("reading"):
        found = analyse(model, prompt, new_tokens=read.new_tokens, cached=read.cache)
    if read.save_trace is not None:
        found.trace.save(read.save_trace)
    return found


def _scene(analysis: "Analysis", opened: Opened) -> "AttentionScene":
    return analysis.scene(layer=opened.layer, head=opened.head)
