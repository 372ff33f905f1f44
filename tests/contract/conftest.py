"""Tiny models of every family, built once."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
