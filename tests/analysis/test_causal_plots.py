"""Pictures of causal analysis: what is drawn is what was given."""

import re
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
import torch
import xarray as xr

from analysis.circuits.scores import EdgeScores
from analysis.patching import Patching
from analysis.plots import circuit_layout as layout
from analysis.plots.attention import (
    attention_figure,
    attention_html,
    attention_patterns,
    named_tokens,
    patterns_figure,
)
from analysis.plots.circuit import circuit_figure
from analysis.plots.circuit_curves import circuit_curves_figure
from analysis.plots.patching import patching_figure
from analysis.plots.style import COLORS, INK, MUTED
from interp.models.graph import Edge, edges, node_of
from interp.models.iteration_head import iteration_head
from tasks.composition import GroupComposition
from tasks.iteration import Parity
from tasks.sequences import Palindrome

SIZES = {"layer": 3, "head": 2, "position": 5, "cell": 4}


def patching(*axes: str, gap: float = 2.0, n: int = 6) -> Patching:
    """Random values over a grid; the corrupted run is lower by a gap."""
    generator = np.random.default_rng(0)
    shape = [SIZES[axis] for axis in axes]
    coords = {axis: range(SIZES[axis]) for axis in axes}
    if "cell" in axes:
        coords["cell"] = ["first", "second", "third", "fourth"]
    values = xr.DataArray(generator.normal(size=(n, *shape)), coords, ("example", *axes))
    clean = xr.DataArray(generator.normal(size=n), dims="example")
    return Patching(values, clean, clean - gap, "margin", "noise", "corrupted", "x")


@pytest.mark.parametrize(
    "axes",
    [
        ("layer", "position"),
        ("layer", "head"),
        ("head", "position"),
        ("layer", "head", "position"),
        ("position", "head", "layer"),
    ],
)
def test_a_heat_map_has_the_effect_of_every_cell(axes):
    result = patching(*axes)
    heat = patching_figure(result, title="t").data[0]
    ordered = [axis for axis in SIZES if axis in axes]
    table = result.normalised.transpose(*ordered).values
    assert heat.z == pytest.approx(table.reshape(-1, table.shape[-1]))
    assert heat.zmid == 0
    row, column = 1, 0
    low, high = result.interval(normalised=True).transpose("bound", *ordered).values
    bounds = (array.reshape(heat.z.shape)[row, column] for array in (low, high))
    assert heat.text[row][column] == "{:.3g} [{:.3g}, {:.3g}]".format(heat.z[row, column], *bounds)


def test_each_head_of_a_layer_has_a_row():
    figure = patching_figure(patching("layer", "head", "position"), title="t")
    assert figure.layout.title.text == "t"
    assert figure.layout.yaxis.ticktext == ("L0H0", "L0H1", "L1H0", "L1H1", "L2H0", "L2H1")
    assert figure.layout.yaxis.autorange == "reversed"
    assert [line.y0 for line in figure.layout.shapes] == [1.5, 3.5]
    assert figure.data[0].customdata[3][2] == "head L1H1, position 2"


def test_positions_are_named_where_names_are_given():
    names = ["a", "b", "a", "b", "EoI"]
    result = patching("layer", "position")
    figure = patching_figure(result, title="t", position_names=names)
    assert figure.layout.xaxis.ticktext == tuple(names)
    assert len(figure.layout.xaxis.tickvals) == 5
    bars = patching_figure(patching("position"), title="t", position_names=names)
    assert bars.layout.yaxis.ticktext == tuple(names)
    with pytest.raises(ValueError, match="has 2 names: the grid has 5 positions"):
        patching_figure(result, title="t", position_names=names[:2])


@pytest.mark.parametrize("axes", [("cell",), ("layer",), ()])
def test_bars_have_their_intervals(axes):
    result = patching(*axes)
    figure = patching_figure(result, title="t")
    bars = figure.data[0]
    values, (low, high) = result.normalised.values, result.interval(normalised=True).values
    assert bars.x == pytest.approx(values.reshape(-1))
    assert bars.x + bars.error_x.array == pytest.approx(high.reshape(-1))
    assert bars.x - bars.error_x.arrayminus == pytest.approx(low.reshape(-1))
    assert list(bars.marker.color) == [COLORS[int(value < 0)] for value in bars.x]
    if axes == ("cell",):
        assert figure.layout.yaxis.ticktext == ("first", "second", "third", "fourth")


def test_without_a_gap_the_change_itself_is_drawn():
    result = patching("layer", "head")
    heat = patching_figure(result, title="t").data[0]
    assert "share of gap" in heat.colorbar.title.text
    result = patching("layer", "head", gap=0.0)
    heat = patching_figure(result, title="t").data[0]
    assert "change of" in heat.colorbar.title.text and "margin" in heat.colorbar.title.text
    assert heat.z == pytest.approx(result.effect.values)


EVERY_EDGE = edges(2, 2)
PATH = (
    Edge("embed", "L0H1.v"),
    Edge("L0H1", "L1H0.k"),
    Edge("L1H0", "MLP1"),
    Edge("MLP1", "unembed"),
)


def scored(effects: dict[Edge, float], method: str = "exact") -> EdgeScores:
    """Scores of all edges of two layers, 0 but for some, on two examples."""
    values = torch.tensor([effects.get(edge, 0.0) for edge in EVERY_EDGE]).expand(2, -1)
    return EdgeScores(tuple(EVERY_EDGE), values, method, "corrupted")


SCORES = scored(dict(zip(PATH, [-4.0, 2.0, -1.0, 0.0], strict=True)))


def drawn_edges(figure: go.Figure) -> dict[str, go.Scatter]:
    return {trace.meta: trace for trace in figure.data}


def test_the_edges_of_a_circuit_are_drawn_and_no_others():
    lines = drawn_edges(circuit_figure(SCORES, PATH, title="t"))
    assert set(lines) == set(map(str, PATH))
    widths = [lines[str(edge)].line.width for edge in PATH]
    assert widths == pytest.approx([8.0, 4.5, 2.75, 1.0])
    assert [lines[str(edge)].line.color for edge in PATH] == [
        COLORS[0],
        COLORS[1],
        COLORS[0],
        MUTED,
    ]
    assert lines["embed->L0H1.v"].text == "embed->L0H1.v: 4<br>mean change when cut: -4"
    assert all(line.line.dash is None for line in lines.values())


def test_the_legend_names_each_kind_of_edge_once():
    figure = circuit_figure(SCORES, PATH, title="t")
    shown = [trace.name for trace in figure.data if trace.showlegend]
    assert sorted(shown) == ["lowers the metric", "no effect", "raises the metric"]


@pytest.mark.parametrize("method", ["acdc", "random"])
def test_scores_without_a_sign_have_one_colour(method):
    figure = circuit_figure(scored(dict.fromkeys(PATH, 1.0), method), PATH, title="t")
    assert {(trace.line.color, trace.name) for trace in figure.data} == {(INK, "matters")}


def test_true_edges_that_are_missed_are_dashed():
    kinds = dict.fromkeys(EVERY_EDGE, "absent") | dict.fromkeys(PATH, "variable")
    kinds[EVERY_EDGE[0]] = "constant"
    lines = drawn_edges(circuit_figure(SCORES, [*PATH[:2], EVERY_EDGE[1]], title="t", kinds=kinds))
    dashed = {name for name, line in lines.items() if line.line.dash}
    assert dashed == set(map(str, PATH[2:])) and len(lines) == 5
    assert lines[str(PATH[0])].text.endswith("truly variable")
    assert lines[str(EVERY_EDGE[1])].text.endswith("truly absent")


def test_nodes_that_are_not_used_are_pale():
    figure = circuit_figure(SCORES, PATH[:2], title="t")
    texts = {note.text.replace("<br>", ""): note for note in figure.layout.annotations}
    used = {name for name, note in texts.items() if note.font.color == INK and len(name) > 1}
    assert used == {"embed", "L0H1", "L1H0"}
    pale = {name for name, note in texts.items() if note.font.color == MUTED}
    assert pale == {"pos_embed", "L0H0", "L1H1", "MLP0", "MLP1", "unembed"}
    assert {name for name in texts if len(name) == 1} == {"v", "k"}
    assert len(figure.layout.shapes) == 9


def test_an_empty_circuit_has_nodes_alone():
    figure = circuit_figure(scored({}), [], title="t")
    assert not figure.data and len(figure.layout.shapes) == 9
    zero = circuit_figure(scored({}), PATH, title="t")
    assert {trace.name for trace in zero.data} == {"no effect"}


@pytest.mark.parametrize(
    "every_edge",
    [
        edges(6, 4),
        edges(3, 2, has_mlp=False),
        [Edge("embed_a", "MLP0"), Edge("embed_b", "MLP0"), Edge("MLP0", "unembed")],
    ],
)
def test_edges_go_to_the_right_and_round_all_boxes(every_edge):
    places = layout.node_places(every_edge)
    assert set(places) == {node_of(end) for edge in every_edge for end in edge}
    assert len(set(places.values())) == len(places)
    for edge in every_edge:
        x, y = layout.edge_curve(places, edge)
        assert (np.diff(x) >= 0).all() and len(x) == len(y)
        assert x[0] == pytest.approx(places[edge.sender][0] + layout.HALF_WIDTH)
        assert y[0] == pytest.approx(places[edge.sender][1])
        assert x[-1] == pytest.approx(places[node_of(edge.receiver)][0] - layout.HALF_WIDTH)
        fine = np.linspace(x[0], x[-1], 2000)
        for place in places.values():
            # An edge may touch the sides of boxes, where it begins and ends.
            within = abs(fine - place[0]) < layout.HALF_WIDTH - 1e-6
            height = np.interp(fine, x, y)
            assert not (within & (abs(height - place[1]) < layout.HALF_HEIGHT)).any(), edge


def test_columns_are_in_the_order_of_computation():
    places = layout.node_places(EVERY_EDGE)
    assert places["embed"][0] == places["pos_embed"][0] == 0
    order = ["embed", "L0H0", "MLP0", "L1H1", "MLP1", "unembed"]
    assert [places[node][0] for node in order] == [0, 1, 2, 3, 4, 5]


def test_edges_enter_a_head_at_q_k_and_v_from_top_to_bottom():
    places = layout.node_places(EVERY_EDGE)
    ends = [layout.edge_curve(places, Edge("embed", f"L1H0.{port}"))[1][-1] for port in "qkv"]
    assert ends == sorted(ends) and len(set(ends)) == 3
    assert ends[1] == pytest.approx(places["L1H0"][1])


def curve(*values: float) -> pd.DataFrame:
    """A curve over 0, 1, ... edges."""
    known = {"faithfulness": values, "completeness": [v / 2 for v in values]}
    minimality = [float("nan"), *values[1:]]
    return pd.DataFrame({"edges": range(len(values)), **known, "minimality": minimality})


def test_a_line_for_each_method_and_random_in_grey():
    figure = circuit_curves_figure(
        {"exact": curve(0, 0.5, 1), "eap": curve(0, 0.25, 1)},
        random=[curve(0, 0, 1), curve(0, 0.5, 1)],
        title="t",
    )
    lines = {trace.name: trace for trace in figure.data if trace.name}
    assert set(lines) == {"random", "exact", "eap"}
    assert list(lines["exact"].x) == [1, 2] and list(lines["exact"].y) == [0.5, 1]
    assert list(lines["random"].y) == [0.25, 1] and lines["random"].line.color == MUTED
    low, high = (trace for trace in figure.data if not trace.name)
    assert list(low.y) == [0, 1] and list(high.y) == [0.5, 1] and high.fill == "tonexty"
    assert figure.layout.yaxis.title.text == "faithfulness"
    assert figure.layout.xaxis.type == "log"


def test_other_qualities_and_no_random():
    figure = circuit_curves_figure({"exact": curve(0, 0.5, 1)}, title="t", quality="completeness")
    assert len(figure.data) == 1 and list(figure.data[0].y) == [0.25, 0.5]
    sparse = curve(0, 0.5, 1).assign(minimality=[np.nan, np.nan, 0.3])
    figure = circuit_curves_figure({"exact": sparse}, title="t", quality="minimality")
    assert list(figure.data[0].x) == [2]


PARITY = Parity(max_length=3, longest=4)


def test_every_head_has_a_panel_and_names_stand_on_the_left_alone():
    figure = attention_figure(iteration_head(PARITY), PARITY, title="t")
    assert [note.text for note in figure.layout.annotations] == ["L0H0", "L1H0"]
    assert figure.data[0].z.sum(axis=1) == pytest.approx(np.ones(len(figure.data[0].z)))
    assert figure.layout.yaxis.title.text == "token" and not figure.layout.yaxis2.title.text
    assert figure.layout.yaxis2.showticklabels is False
    assert figure.layout.xaxis.title.text == figure.layout.xaxis2.title.text == "attends to"
    x1 = figure.layout.xaxis.ticktext.index(
        next(n for n in figure.layout.xaxis.ticktext if "x1" in n)
    )
    assert re.fullmatch("s.: . to x1: .", figure.data[1].text[-1][x1])


def test_tokens_of_every_task_have_names_and_padding_is_left_out():
    group = GroupComposition("C5", equals_token=True)
    shown, names = named_tokens(group, torch.tensor([3, 1, 5]))
    assert (shown.tolist(), names) == ([3, 1, 5], ["3", "1", "="])
    palindrome = Palindrome("a,b", max_length=4)
    shown, names = named_tokens(palindrome, palindrome.encoding.encode(["ab"], 5)[0])
    assert (shown.tolist(), names) == ([2, 0, 1], ["BOS", "a", "b"])
    tokens = PARITY.examples("all").tokens
    for row in tokens:
        shown, names = named_tokens(PARITY, row)
        assert len(names) == len(shown) == 2 * int(PARITY.encoding.lengths(row[None])) + 2
        assert names[-1].startswith(f"s{len(names) // 2 - 1}: ")


def test_panels_without_one_below_say_what_they_show():
    patterns = {name: torch.eye(2) for name in ("L0H0", "L0H1", "L0H2")}
    figure = patterns_figure(patterns, ["a", "a"], title="t")
    titles = [bool(axis.title.text) for axis in figure.select_xaxes()]
    assert titles[:3] == [False, True, True]
    assert figure.layout.xaxis.ticktext == ("a", "a") and figure.data[0].z.shape == (2, 2)


@pytest.mark.parametrize("is_causal", [True, False])
def test_circuitsvis_draws_where_it_is_installed(monkeypatch, is_causal):
    def attention_heads(attention, tokens, attention_head_names, *, mask_upper_tri):
        given.update(locals())
        return SimpleNamespace(local_src="<div>theirs</div>")

    given: dict = {}
    module = ModuleType("circuitsvis.attention")
    module.attention_heads = attention_heads
    monkeypatch.setitem(sys.modules, "circuitsvis", ModuleType("circuitsvis"))
    monkeypatch.setitem(sys.modules, "circuitsvis.attention", module)
    patterns = {"L0H0": torch.eye(2), "L0H1": torch.full((2, 2), 0.5)}
    if is_causal:
        patterns["L0H1"] = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    assert attention_html(patterns, ["a", "b"], title="t") == "<div>theirs</div>"
    assert given["tokens"] == ["a", "b"] and given["attention_head_names"] == ["L0H0", "L0H1"]
    assert torch.equal(given["attention"], torch.stack(list(patterns.values())))
    assert given["mask_upper_tri"] is is_causal


def test_plotly_draws_where_circuitsvis_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "circuitsvis", None)
    tokens = PARITY.examples("test").tokens[0]
    patterns = attention_patterns(iteration_head(PARITY), tokens)
    page = attention_html(patterns, list(map(str, tokens.tolist())), title="Where it looks")
    assert "Where it looks" in page and "L1H0" in page and "Plotly.newPlot" in page
    assert not re.search("<script[^>]* src=", page)
