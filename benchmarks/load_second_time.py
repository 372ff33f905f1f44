"""Loading the embedded model again, once it has been pulled and converted, takes under 3 s.

Measured in fresh processes. Told apart: the load alone, when heed and transformers are imported already; and the
whole process from `import heed` to the loaded model, less the start of a bare interpreter.
"""

import json
import subprocess
import sys
from statistics import median
from time import perf_counter

from harness import Claim, at_most, main, pick
from inputs import embedded
from machine import child

BAR = 3.0
_LOAD = "import heed; heed.load()"


def load_alone() -> dict[str, float]:
    """Seconds of one load in this process, whose imports are done (`inputs` brought them)."""
    import transformers.models.llama.modeling_llama  # noqa: F401 - the import would else count as loading

    started = perf_counter()
    embedded()
    return {"seconds": perf_counter() - started}


def process(code: str) -> float:
    """Seconds of a whole process."""
    started = perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    return perf_counter() - started


def measure() -> list[Claim]:
    """Load once so that the file cache is warm, then again in fresh processes."""
    embedded()
    repeats = pick(5, 1)
    alone = [child(__file__, "--alone")["seconds"] for _ in range(repeats)]
    pairs = [(process("pass"), process(_LOAD)) for _ in range(repeats)]
    whole = median(loaded - bare for bare, loaded in pairs)
    spent = {"bare interpreter s": round(median(bare for bare, _ in pairs), 3), "repeats": repeats}
    return [
        at_most("second load, imports done", median(alone), BAR, {"repeats": repeats}, unit="s"),
        at_most("second load with all imports, less a bare interpreter", whole, BAR, spent, unit="s"),
    ]


if __name__ == "__main__":
    if sys.argv[1:] == ["--alone"]:
        print(json.dumps(load_alone()))
    else:
        main(__file__, measure)
