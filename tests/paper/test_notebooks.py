"""The notebooks run, at small sizes, and those that are kept with outputs are of the same cells."""

import os
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[2] / "paper" / "notebooks"
SOURCES = sorted(NOTEBOOKS.glob("*.py"))
MOST_BYTES = 2_000_000
"""Of all notebooks with their outputs."""

of_each = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


def complaints(notebook: nbformat.NotebookNode) -> list[str]:
    """What cells wrote on stderr, such as warnings, or raised."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [str(o) for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]


@pytest.mark.slow
@of_each
def test_a_notebook_runs(source, monkeypatch):
    monkeypatch.setenv("FAST", "1")
    monkeypatch.setenv("PLOTLY_RENDERER", "json")  # needs no browser
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    notebook = jupytext.read(source)
    folder = {"metadata": {"path": str(NOTEBOOKS)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=folder).execute()
    assert complaints(notebook) == []


@of_each
def test_the_notebook_with_outputs_is_of_its_source(source):
    built = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    cells = [[(c.cell_type, c.source) for c in n.cells] for n in (built, jupytext.read(source))]
    assert cells[0] == cells[1], "run `make notebooks`"
    assert all(c.execution_count for c in built.cells if c.cell_type == "code")
    assert complaints(built) == []


def test_there_are_five_and_they_are_small():
    assert len(SOURCES) == 5
    assert sum(path.stat().st_size for path in NOTEBOOKS.glob("*.ipynb")) < MOST_BYTES
