"""README's figures of the guard are those the shipped profile carries."""

import re
from pathlib import Path

from heed.profile import DEFAULT, shipped_profiles

README = Path(__file__).parents[2] / "README.md"


def test_the_quality_table_is_the_shipped_profiles() -> None:
    fitted = [
        one for one in shipped_profiles() if one.task == "guard" and one.fingerprints and one.name in ("", DEFAULT)
    ]
    (quality,) = [one.quality for one in fitted if "SmolLM2-135M" in one.model or one.model == "embedded"]
    rows = [line for line in README.read_text().splitlines() if re.match(r"\| .* \| \d+ \| ", line)]
    wanted = [quality["sets"][name] for name in quality["sets"]]
    shown = {tuple(cell.strip(" *") for cell in row.split("|")[2:-1]) for row in rows}

    def figure(value: float | None) -> str:
        return "–" if value is None else f"{value:.2f}"

    for one in wanted:
        area = "–"
        if "auroc_left_out" in one:
            low, high = one["auroc_left_out_interval"]
            area = f"{one['auroc_left_out']:.2f} ({low:.2f}–{high:.2f})"
        line = (str(one["rows"]), area, figure(one.get("auroc_length")), figure(one["tpr"]), figure(one["fpr"]))
        assert line in shown
    assert len(rows) == len(wanted) + 1
    total = [figure(quality[name]) for name in ("auroc_left_out", "auroc_length", "tpr", "fpr")]
    assert any(list(line[1:]) == total for line in shown)
