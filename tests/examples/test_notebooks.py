"""The notebooks on guard and pictures run from top to bottom, and carry no outputs of their own."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[2] / "examples"
IMAGES = {"guard": 1, "show": 3}
"""How many figures each of them draws."""


@pytest.mark.parametrize("name", IMAGES)
def test_notebooks_are_kept_without_outputs(name):
    cells = [cell for cell in nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4).cells if cell.cell_type == "code"]
    assert cells
    assert not any(cell.outputs or cell.execution_count for cell in cells)


@pytest.mark.embedded
@pytest.mark.parametrize("name", IMAGES)
def test_notebooks_run(name, tmp_path):
    notebook = nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)
    place = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=place).execute()
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in shown) == IMAGES[name]
