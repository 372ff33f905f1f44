"""The worked example runs from top to bottom."""

from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "cite.ipynb"


@pytest.mark.embedded
@pytest.mark.filterwarnings("default")  # those of the kernel's client are not ours
def test_the_notebook_runs(tmp_path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    said = ["".join(output.get("text", "") for output in cell.outputs) for cell in cells]
    assert "of the attention reached the context" in said[1]
    assert "nats without the best 3" in said[5]
    assert len(said[6].splitlines()) == 6
    assert any("text/html" in output.get("data", {}) for output in cells[3].outputs)
