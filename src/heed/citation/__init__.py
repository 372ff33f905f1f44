"""Which facts of a context a question or an answer rests on, read from attention. Knows neither guards nor pictures."""

from heed.citation.citation import Citation as Citation
from heed.citation.citation import Fact as Fact
from heed.citation.cite import cite as cite
from heed.citation.question import Question as Question
from heed.citation.scores import Method as Method
from heed.citation.scores import Scores as Scores
