"""What is asked of a context: the value that every method of citation gets."""

from collections.abc import Sequence
from dataclasses import dataclass

from heed.citation.units import facts_of, units_of
from heed.errors import InputError
from heed.text.message import check_text
from heed.text.span import CharSpan


@dataclass(frozen=True, slots=True)
class Question:
    """A question, the context it is asked of, and the answer if there is one.

    ``units`` are the facts that are ranked: stretches of the context, in order, without overlap.
    """

    text: str
    context: str
    units: tuple[CharSpan, ...]
    response: str | None = None

    @classmethod
    def of(
        cls,
        text: str,
        context: str,
        response: str | None = None,
        units: Sequence[str] | Sequence[CharSpan] | None = None,
    ) -> "Question":
        """Check the texts; without ``units`` the sentences of the context are the facts.

        Raises
        ------
        InputError
            If question or context are empty, an answer is given but empty, no sentence is found, or the units do not
            add up to the context.
        TextError
            If a text cannot be encoded.
        """
        named = [("question", text), ("context", context)] + ([] if response is None else [("response", response)])
        for name, value in named:
            if not check_text(value, where=f"the {name}").strip():
                raise InputError(f"expected a {name} with text, found {value!r}")
        return cls(text, context, facts_of(context) if units is None else units_of(context, units), response)

    @property
    def facts(self) -> tuple[str, ...]:
        """The text of each unit."""
        return tuple(self.context[span.slice()] for span in self.units)
