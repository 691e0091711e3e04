"""Attention patterns of a network on one sequence."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
import torch
from jaxtyping import Float, Int64
from plotly.subplots import make_subplots
from torch import Tensor

from analysis.plots.style import SEQUENTIAL, TEMPLATE
from interp.models.graph import head_name
from interp.models.transformer import TaskTransformer
from tasks.iteration import IterationTask
from tasks.task import Task

PANEL = 430
"""Pixels of a head's height, with its names."""
PER_ROW = 2
"""Heads side by side, so that names can be read on a page of 620 pixels."""

Patterns = Mapping[str, Float[Tensor, "query key"]]
"""Attention by the names of the heads; rows add up to 1."""


def attention_figure(model: TaskTransformer, task: IterationTask, *, title: str) -> go.Figure:
    """Every head's attention on the first of the longest test sequences."""
    tokens = task.examples("test").tokens
    example, names = named_tokens(task, tokens[int(task.encoding.lengths(tokens).argmax())])
    return patterns_figure(attention_patterns(model, example), names, title=title)


def named_tokens(
    task: Task, tokens: Int64[Tensor, "position"]
) -> tuple[Int64[Tensor, "shown"], list[str]]:
    """A sequence without what fills it up, and a name for each of its tokens."""
    if isinstance(task, IterationTask):
        length = int(task.encoding.lengths(tokens[None]))
        tokens = tokens[: task.layout.answer(length).stop]
        return tokens, _names_in_iteration(task, length, tokens.tolist())
    if task.pad_token is not None:
        tokens = tokens[tokens != task.pad_token]
    return tokens, [task.vocabulary[token] for token in tokens.tolist()]


@torch.no_grad()
def attention_patterns(
    model: TaskTransformer, tokens: Int64[Tensor, "position"]
) -> dict[str, Float[Tensor, "query key"]]:
    """Every head's attention on one sequence, by name, layer by layer."""
    device = next(model.parameters()).device
    _, cache = model.run_with_cache(tokens[None].to(device), names_filter=_is_pattern)
    return {
        head_name(layer, head): pattern
        for layer in range(model.cfg.n_layers)
        for head, pattern in enumerate(cache[f"blocks.{layer}.attn.hook_pattern"][0].cpu())
    }


def patterns_figure(patterns: Patterns, token_names: Sequence[str], *, title: str) -> go.Figure:
    """A panel for each head; `token_names` has a name for each position."""
    columns = min(PER_ROW, len(patterns))
    rows = -(-len(patterns) // columns)
    drawn = make_subplots(
        rows,
        columns,
        subplot_titles=list(patterns),
        shared_yaxes=True,
        horizontal_spacing=0.03,
        vertical_spacing=0.22 / rows,
    )
    ticks = {"tickvals": list(range(len(token_names))), "ticktext": list(token_names)}
    axis = {"showgrid": False, "tickfont": {"size": 11}, **ticks}
    drawn.update_xaxes(tickangle=-90, **axis).update_yaxes(autorange="reversed", **axis)
    for i, pattern in enumerate(patterns.values()):
        row, col = i // columns + 1, i % columns + 1
        drawn.add_trace(_panel(pattern, token_names), row, col)
        if i + columns >= len(patterns):
            drawn.update_xaxes(title_text="attends to", row=row, col=col)
        if col == 1:
            drawn.update_yaxes(title_text="token", row=row, col=col)
    bar = {"title": {"text": "attention"}, "thickness": 16}
    return drawn.update_layout(
        template=TEMPLATE,
        title={"text": title},
        height=rows * PANEL + 130,
        margin={"t": 80},
        coloraxis={"colorscale": SEQUENTIAL, "cmin": 0, "cmax": 1, "colorbar": bar},
    )


def attention_html(patterns: Patterns, token_names: Sequence[str], *, title: str) -> str:
    """A piece of HTML that needs nothing but itself: circuitsvis' picture where that is installed,
    else `patterns_figure`."""
    try:
        from circuitsvis.attention import attention_heads  # pyright: ignore[reportMissingImports]
    except ImportError:
        return patterns_figure(patterns, token_names, title=title).to_html(full_html=False)
    heads = torch.stack(list(patterns.values()))
    drawn = attention_heads(
        heads, list(token_names), list(patterns), mask_upper_tri=not heads.triu(1).any()
    )
    return drawn.local_src  # `str` would look for a network, and load its scripts from there


def _panel(pattern: Float[Tensor, "query key"], names: Sequence[str]) -> go.Heatmap:
    text = [[f"{query} to {key}" for key in names] for query in names]
    return go.Heatmap(
        z=pattern.numpy(),
        text=text,
        hovertemplate="%{text}: %{z:.3f}<extra></extra>",
        coloraxis="coloraxis",
        xgap=1,
        ygap=1,
    )


def _names_in_iteration(task: IterationTask, length: int, tokens: list[int]) -> list[str]:
    """x1: 7, ..., s1: 7, ...; each name once."""
    answer = task.layout.answer(length)
    places = {t: f"x{t}: " for t in range(1, length + 1)}
    places |= {position: f"s{length - answer.stop + position + 1}: " for position in answer}
    places |= {i: f"{i}. " for i in range(length + 2, answer.start)}
    return [places.get(i, "") + task.vocabulary[token] for i, token in enumerate(tokens)]


def _is_pattern(name: str) -> bool:
    return name.endswith("hook_pattern")
