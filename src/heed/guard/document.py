"""What was heard of a text's windows, put together: its risk, the passages that raised it, the words that did most.

The risk of a text is that of its worst window: a sentence is not diluted by what stands around it.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from heed.errors import OutOfMemoryError
from heed.guard.evidence import marks, word_weights
from heed.guard.listening import Heard, Listening
from heed.guard.locate import Stretch, hot, passages
from heed.guard.pair import Question, Window
from heed.guard.prompt import DATA, parts_of
from heed.guard.verdict import Verdict
from heed.text.span import CharSpan


@dataclass(slots=True, eq=False)
class Document:
    """A question whose windows are being read."""

    windows: list[Window]
    listening: Listening
    _heard: dict[CharSpan, Heard | OutOfMemoryError] = field(default_factory=dict)
    _seconds: float = 0.0

    @property
    def question(self) -> Question:
        """What the guard was asked."""
        return self.windows[0].question

    def put(self, window: Window, heard: Heard | OutOfMemoryError, seconds: float) -> None:
        """What was heard of one of the windows, and how long that took."""
        self._heard[window.span] = heard
        self._seconds += window.seconds + seconds

    def verdict(self) -> Verdict:
        """An undecided verdict with the risk and its evidence; or why there is none.

        A window that could not be read leaves the whole text without a risk: what was not seen may be the injection.
        """
        known: list[tuple[Window, Heard]] = []
        for window in self.windows:
            heard = self._heard[window.span]
            if isinstance(heard, OutOfMemoryError):
                return self.question.abstain("out_of_memory", str(heard), seconds=self._seconds)
            known.append((window, heard))
        if not all(np.isfinite(heard.risk) for _, heard in known):
            reason = "expected finite attention, found NaN or infinity: the model's weights or dtype overflow"
            return self.question.abstain("not_finite", reason, seconds=self._seconds)
        worst = max(known, key=lambda one: one[1].risk)[1]
        risk = self.listening.of_text(np.array([heard.risk for _, heard in known]))
        stretches = hot([_stretch(window, heard) for window, heard in known])
        return replace(
            self.question.abstain("uncalibrated", "", seconds=self._seconds),
            score=risk,
            spans=passages(self.question.data, stretches),
            marks=marks([share for stretch in stretches for share in stretch.words], self.question.data),
            tokens=sum(len(window.encoded) for window in self.windows),
            heads=worst.heads,
        )


def _stretch(window: Window, heard: Heard) -> Stretch:
    text = window.question.data[window.span.slice()]
    added = word_weights(window.encoded, parts_of(window.encoded)[2], heard.weights, text, part=DATA)
    return Stretch(window.span, heard.risk, [word._replace(span=word.span.shift(window.span.start)) for word in added])
