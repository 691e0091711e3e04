"""Attention patterns of a network on one sequence."""

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from analysis.plots.style import SEQUENTIAL, TEMPLATE
from interp.models.graph import head_name
from interp.models.transformer import TaskTransformer
from tasks.iteration import IterationTask

PANEL = 430
"""Pixels of a head's side."""


@torch.no_grad()
def attention_figure(model: TaskTransformer, task: IterationTask, *, title: str) -> go.Figure:
    """Every head's attention on the first of the longest test sequences; the rows add up to 1."""
    tokens = task.examples("test").tokens
    lengths = task.encoding.lengths(tokens)
    length = int(lengths.max())
    example = tokens[int(lengths.argmax())][None, : task.layout.answer(length).stop]
    device = next(model.parameters()).device
    _, cache = model.run_with_cache(example.to(device), names_filter=_is_pattern)
    patterns = {
        head_name(layer, head): pattern
        for layer in range(model.cfg.n_layers)
        for head, pattern in enumerate(cache[f"blocks.{layer}.attn.hook_pattern"][0].cpu())
    }
    names = _token_names(task, length, example[0].tolist())
    columns = model.cfg.n_heads if model.cfg.n_heads > 1 else model.cfg.n_layers
    rows = -(-len(patterns) // columns)
    drawn = make_subplots(rows, columns, subplot_titles=list(patterns), vertical_spacing=0.2 / rows)
    for i, pattern in enumerate(patterns.values()):
        heat = go.Heatmap(
            z=pattern.numpy(),
            x=names,
            y=names,
            coloraxis="coloraxis",
            xgap=1,
            ygap=1,
        )
        drawn.add_trace(heat, i // columns + 1, i % columns + 1)
    axis = {"type": "category", "showgrid": False, "tickfont": {"size": 11}, "dtick": 1}
    drawn.update_xaxes(title_text="attends to", tickangle=-90, **axis)
    drawn.update_yaxes(title_text="token", autorange="reversed", **axis)
    return drawn.update_layout(
        template=TEMPLATE,
        title={"text": title},
        height=rows * PANEL + 130,
        coloraxis={
            "colorscale": SEQUENTIAL,
            "cmin": 0,
            "cmax": 1,
            "colorbar": {"title": {"text": "attention"}},
        },
    )


def _token_names(task: IterationTask, length: int, tokens: list[int]) -> list[str]:
    """x1: 7, ..., s1: 7, ...; each name once."""
    answer = task.layout.answer(length)
    places = {t: f"x{t}: " for t in range(1, length + 1)}
    places |= {position: f"s{length - answer.stop + position + 1}: " for position in answer}
    places |= {i: f"{i}. " for i in range(length + 2, answer.start)}
    return [places.get(i, "") + task.vocabulary[token] for i, token in enumerate(tokens)]


def _is_pattern(name: str) -> bool:
    return name.endswith("hook_pattern")
