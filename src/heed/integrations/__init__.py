"""Where users already are: thin adapters that hand texts to a ready `Guard` and act on its verdicts.

One file for each library (`llm_guard`, `langchain`, `agentdojo`, `nemo`, `litellm`), each imported only by who uses it;
`screen` is what they share, `otel` and `sarif` report verdicts. Nothing here knows how a text is read.
Every adapter fails closed: what the guard abstains from does not pass.
"""
