"""Figures as one HTML page."""

import html
import json
from collections.abc import Mapping
from pathlib import Path

import plotly.graph_objects as go


def page(title: str, figures: Mapping[str, go.Figure]) -> str:
    """One HTML page with all figures, and plotly.js in it once."""
    scripts = ["inline", *[False] * (len(figures) - 1)]
    drawn = [
        figure.to_html(full_html=False, include_plotlyjs=script, config={"displaylogo": False})
        for figure, script in zip(figures.values(), scripts, strict=True)
    ]
    return html_page(title, "\n".join(drawn))


def figures_json(figures: Mapping[str, go.Figure]) -> str:
    """Figures by their names as JSON, which `read_figures` reads."""
    return json.dumps(
        {name: json.loads(figure.to_json() or "") for name, figure in figures.items()}
    )


def read_figures(path: Path) -> dict[str, go.Figure]:
    """The figures of a file. Raises `ValueError` where it is damaged."""
    try:
        return {name: go.Figure(figure) for name, figure in json.loads(path.read_text()).items()}
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error}): remove it") from error


def html_page(title: str, body: str) -> str:
    """An HTML page from what it shows."""
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title>'
    return f"<!DOCTYPE html><html><head>{head}</head><body>\n{body}\n</body></html>\n"
