"""`heed guard interactive`: lines from a terminal or a pipe come in, a verdict for each goes out, until they end."""

import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from heed.cli.options import (
    DeviceOption,
    DtypeName,
    DtypeOption,
    JsonOption,
    ModelOption,
    ProfileOption,
    ThresholdOption,
    load_guard,
)
from heed.cli.output import print_json, print_picture, progress_bar, tell
from heed.errors import HeedError, InputError, TextError

if TYPE_CHECKING:
    from heed.guard import Guard

HELP = """\
Every line is judged as untrusted text, but for these:
  :paste               judge the lines that follow as one text, up to a line that is only a dot
  :instruction [TEXT]  what the application asks of the model; without TEXT a neutral one stands in
  :threshold [X]       flag from the risk X on; without X as the profile was calibrated
  :model NAME          go on with another model, its own profile and its own threshold
  :help                show this
  :quit                leave (or Ctrl-D)"""
_END = "."


def interactive(
    *,
    instruction: Annotated[
        str | None, typer.Option("--instruction", help="What the application asks of the model.")
    ] = None,
    model: ModelOption = "embedded",
    dtype: DtypeOption = "auto",
    device: DeviceOption = None,
    profile: ProfileOption = None,
    threshold: ThresholdOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge what is typed, line by line; `:help` shows the commands.

    Exit codes: 0 left by `:quit` or the end of the input, whatever the verdicts were; 2 bad usage or input; 3 could
    not run.
    """
    guard = load_guard(model, dtype=dtype, device=device, profile=profile, threshold=threshold)
    talk = _Talk(guard, instruction, profile, dtype=dtype, device=device, as_json=as_json)
    del guard  # the talk alone holds it, and lets it go for another
    if sys.stdin.isatty():
        with contextlib.suppress(ImportError):  # Windows has none
            import readline  # noqa: F401 - gives `input` a history and lines of any length
        tell(f"{talk.guard.model.name}: type a text to judge, or :help")
    while talk.goes_on():
        pass


@dataclass(slots=True)
class _Talk:
    """What is being talked with: a guard and the instruction of the application it is to protect."""

    guard: "Guard"
    instruction: str | None
    profile: str | None
    dtype: DtypeName
    device: str | None
    as_json: bool
    judged: int = 0

    def goes_on(self) -> bool:
        """Take one line; False when there is no more. What is wrong with it is told, and the talk goes on."""
        try:
            line = _read("> ")
            if line is None or line.strip() == ":quit":
                return False
            self._take(line)
        except HeedError as error:
            tell(f"error: {error}")
        return True

    def _take(self, line: str) -> None:
        name, _, rest = line.strip().partition(" ")
        commands: dict[str, Callable[[str], None]] = {
            ":model": self._take_model,
            ":instruction": self._take_instruction,
            ":threshold": self._take_threshold,
            ":paste": self._take_paste,
            ":help": lambda _: tell(HELP),
        }
        if name in commands:
            commands[name](rest.strip())
        elif name.startswith(":"):
            raise InputError(f"expected one of {', '.join(commands)}, :quit, found {name!r}; :paste takes any text")
        elif name:
            self._judge(line)

    def _judge(self, text: str) -> None:
        from heed.picture import show

        with progress_bar("judging (tokens)", passing=True) as bar:
            verdict = self.guard.check(self.instruction, text, progress=bar)
        self.judged += 1
        if self.as_json:
            print_json({"id": self.judged, "model": verdict.model, **verdict.record(), "notes": list(verdict.notes)})
        else:
            print_picture(show(verdict))
        sys.stdout.flush()

    def _take_paste(self, rest: str) -> None:
        if rest:
            raise InputError(f"expected nothing after :paste, found {rest!r}: the text stands on the lines below")
        lines = []
        while (line := _read("… ")) is not None and line != _END:
            lines.append(line)
        self._judge("\n".join(lines))

    def _take_instruction(self, text: str) -> None:
        self.instruction = text or None
        tell(f"instruction: {text}" if text else "no instruction: a neutral one stands in")

    def _take_threshold(self, word: str) -> None:
        from heed.guard import Guard

        try:
            threshold = float(word) if word else None
        except ValueError:
            raise InputError(f"expected a threshold in [0, 1], found {word!r}") from None
        self.guard = Guard(self.guard.model, profile=self.profile, threshold=threshold)
        tell("threshold: as calibrated" if threshold is None else f"threshold: {threshold:g}")

    def _take_model(self, name: str) -> None:
        if not name:
            raise InputError(f"expected the name of a model after :model, found none (now: {self.guard.model.name})")
        self.guard = load_guard(name, dtype=self.dtype, device=self.device)
        self.profile = None
        tell(f"model: {name}, with its own profile and threshold")


def _read(prompt: str) -> str | None:
    """The next line without its end; None at the end of the input. Only a terminal sees the prompt.

    Raises
    ------
    TextError
        If the line is not UTF-8.
    """
    try:
        if sys.stdin.isatty():
            return input(prompt)
        line = sys.stdin.buffer.readline()
        return line.decode("utf-8").rstrip("\r\n") if line else None
    except EOFError:
        tell("")
        return None
    except KeyboardInterrupt:
        tell("")
        raise
    except UnicodeDecodeError as error:
        raise TextError(f"expected UTF-8, found 0x{error.object[error.start]:02x}: the line was not judged") from error
