"""A marimo notebook with one widget; `test_widget.py` runs it."""

import marimo

app = marimo.App(width="full")


@app.cell
def _():
    from heed.picture.widget import widget
    from viewing import SCENE

    shown = widget(SCENE)
    shown  # noqa: B018 - a cell shows its last expression


if __name__ == "__main__":
    app.run()
