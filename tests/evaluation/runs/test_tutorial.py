"""The tutorial notebook runs from its first cell to its last."""

import contextlib
import io
import json
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[3] / "examples" / "runs" / "tutorial.ipynb"


@pytest.mark.embedded
def test_the_tutorial_runs(tmp_path, monkeypatch):
    """Its code cells one after the other, as a kernel would run them; needs no kernel."""
    monkeypatch.chdir(tmp_path)
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    namespace: dict[str, object] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for cell in cells:
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), namespace)
    assert "of 2 correct" in printed.getvalue()
    assert "float16" in printed.getvalue()
    assert (tmp_path / "tutorial" / "embedded" / "two" / "report.html").exists()
