"""Who answers: a local model, or an OpenAI-compatible server. Knows neither guards nor citations.

In come messages, out goes an `Answer`. Attention is not read here: a server gives none, so whoever wants it reads the
same text with a local model, and says which.
"""

from heed.upstream.answer import Answer as Answer
from heed.upstream.answer import Prompt as Prompt
from heed.upstream.answer import Upstream as Upstream
from heed.upstream.answer import Usage as Usage
from heed.upstream.local import LocalUpstream as LocalUpstream
from heed.upstream.openai import OpenAIUpstream as OpenAIUpstream
