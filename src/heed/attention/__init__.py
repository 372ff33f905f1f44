"""Attention as mathematics: score rules, masks and kernels in plain torch. Knows neither models nor prompts."""
