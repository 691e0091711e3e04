"""Figures as one HTML page."""

import html
from collections.abc import Mapping

import plotly.graph_objects as go


def page(title: str, figures: Mapping[str, go.Figure]) -> str:
    """One HTML page with all figures, and plotly.js in it once."""
    scripts = ["inline", *[False] * (len(figures) - 1)]
    drawn = [
        figure.to_html(full_html=False, include_plotlyjs=script, config={"displaylogo": False})
        for figure, script in zip(figures.values(), scripts, strict=True)
    ]
    return html_page(title, "\n".join(drawn))


def html_page(title: str, body: str) -> str:
    """An HTML page from what it shows."""
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title>'
    return f"<!DOCTYPE html><html><head>{head}</head><body>\n{body}\n</body></html>\n"
