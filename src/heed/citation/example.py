"""Questions that ship with heed, with the facts that answer them: for pages, demos and first trials.

Written for heed; all names are made up. Too few to measure a method with, and unknown to every shipped profile.
"""

from importlib.resources import as_file, files

from heed.citation.data import LabelledQuestion, load_questions


def examples() -> tuple[LabelledQuestion, ...]:
    """The shipped examples: a context of about ten facts each, a question, an answer, and which facts it rests on."""
    with as_file(files("heed.citation").joinpath("examples", "examples.jsonl")) as path:
        return tuple(load_questions([path]))
