"""Benchmarks are scripts beside the package: they are found by their folders."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks"
sys.path[:0] = [str(FOLDER), str(FOLDER / "mechanisms"), str(ROOT / "scripts")]
