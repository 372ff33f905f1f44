"""What a method that reads no attention looks for: the words of the question and of the answer."""

from heed.citation.attention import Rows, looks_from
from heed.citation.question import Question
from heed.citation.units import sentences_of


def queries(question: Question, rows: Rows | None = None) -> list[str]:
    """The whole query, then each sentence of the answer (none if only the question is looked for).

    The whole query is the question, with the answer behind it if that is looked from; see `looks_from`.

    Raises
    ------
    InputError
        If ``rows`` is neither, or the answer is missing.
    """
    if not looks_from(question, rows):
        return [question.text]
    assert question.response is not None
    own = [question.response[span.slice()] for span in sentences_of(question.response)]
    return [f"{question.text} {question.response}", *own]
