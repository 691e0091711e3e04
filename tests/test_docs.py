"""What the documentation says is so: its code runs, its numbers are those of the results."""

import importlib.util
import re
from pathlib import Path

import pandas as pd
import pytest
from documented import ROOT, blocks, commands, files, run

from analysis.iteration import iteration_metrics
from analysis.metric_sets import tidy
from analysis.metrics import ITERATION_METRICS
from analysis.scores import standard_metrics
from interp.cli import COMMANDS
from interp.models.config import DecoderConfig
from interp.models.stacked import stacked_logits
from interp.runs.run import Run, find_runs
from tasks.iteration import Copy

DOCS = ROOT / "docs"
RESULTS = ROOT / "paper" / "results"
FASTER = {"PUBLISHED_DIR": str(ROOT / "tests" / "data" / "published"), "50": "4"}
PAGES = sorted([*DOCS.rglob("*.md"), *RESULTS.rglob("*.md")])


def carry_out(page: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do in an empty folder what a page in docs/ says, with fewer steps: files, commands, code."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    text = (DOCS / page).read_text()
    for name, content in files(text).items():
        (folder / name).write_text(content.replace("steps: 7000", "steps: 3"))
    for command in commands(text, FASTER):
        if "slurm" not in command:
            assert run(command) == 0, command
    names: dict[str, object] = {}
    for example in blocks("python", text):
        exec(compile(example.replace("4000", "30"), page, "exec"), names)


def execute(page: str) -> None:
    """Do what the Python of a page says, one block after another."""
    names: dict[str, object] = {}
    for example in blocks("python", (DOCS / page).read_text()):
        exec(compile(example, page, "exec"), names)


@pytest.mark.slow
def test_the_tutorial_works(tmp_path, monkeypatch, capsys):
    carry_out("tutorial.md", tmp_path, monkeypatch)
    printed = capsys.readouterr().out
    assert "live      139 of 2,063 parameters (6.7%)" in printed
    assert "interpreter on 20,530 inputs: all agree" in printed
    (folder,) = tmp_path.glob("compiled/peak/causal/circuit_*")
    edges = pd.read_csv(folder / "circuit.csv").query("magnitude > 0")
    in_the_page = re.findall(r"^\| `(.*->.*)` \|", (DOCS / "tutorial.md").read_text(), re.MULTILINE)
    assert set(edges["edge"]) <= set(in_the_page) and set(edges["truth"]) == {"variable"}


@pytest.mark.slow
def test_the_guide_to_tasks_works(tmp_path, monkeypatch):
    carry_out("howto/task.md", tmp_path, monkeypatch)
    first_seen, sums = (run.recipe.task for run in find_runs(tmp_path / "mine"))
    assert first_seen.answers("abab") == [True, True, False, False]
    assert len(sums.examples("train")) == 100 and sums.base == 5


@pytest.mark.slow
def test_the_guide_to_metrics_works(tmp_path, monkeypatch, capsys):
    carry_out("howto/metric.md", tmp_path, monkeypatch)
    summary = Run(tmp_path / "metrics_runs" / "C7_mlp_seed0").summary()
    assert 0 <= summary["neurons/dead"] <= 1 and "neurons/firing[neuron:15]" in summary


@pytest.mark.slow
def test_the_guide_to_positions_works(tmp_path, monkeypatch):
    carry_out("howto/positions.md", tmp_path, monkeypatch)
    binary, near = (run.model() for run in find_runs(tmp_path / "positions_runs"))
    assert binary.pos_embed.W_pos[2, :3].tolist() == [-1, 1, -1]  # the weights that were stored
    tokens = Copy(max_length=6).examples("test").tokens[:4]
    for model in (binary, near):  # training computes the same function as the model
        parameters = {name: p.detach()[None] for name, p in model.named_parameters()}
        trained = stacked_logits(model, parameters, tokens[None], 0)[0]
        assert (trained - model(tokens)).abs().max() < 1e-4
    plain = DecoderConfig(d_model=32, positions="alibi").build(Copy(max_length=6), 0)
    plain.load_state_dict(near.state_dict())
    assert (plain.eval()(tokens) - near(tokens)).abs().max() > 1e-3


@pytest.mark.slow
def test_the_guide_to_published_checkpoints_works(tmp_path, monkeypatch, capsys):
    carry_out("howto/published.md", tmp_path, monkeypatch)
    assert "torch.Size([120, 256]) 120" in capsys.readouterr().out


@pytest.mark.slow
def test_the_guide_to_clusters_works(tmp_path, monkeypatch, capsys):
    carry_out("howto/cluster.md", tmp_path, monkeypatch)
    assert len(list(find_runs(tmp_path / "sweep_runs"))) == 16


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_links_to_exists(page):
    for link in re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", page.read_text()):
        assert (page.parent / link).exists(), link


def test_metrics_of_iteration_are_those_that_are_documented():
    task = Copy(max_length=4)
    model = DecoderConfig(d_model=8).build(task, 0)
    extra = set(tidy(iteration_metrics(model, task))["metric"]) - set(standard_metrics(model, task))
    assert extra == {metric.name for metric in ITERATION_METRICS}


def test_what_is_said_to_be_reproduced_is():
    page = (DOCS / "published.md").read_text()
    values = pd.read_csv(RESULTS / "published" / "comparison.csv")
    agree = values["defect"].isna()
    assert f"{len(values):,} published values, {agree.sum():,} agree, {(~agree).sum()}" in page
    assert set(values["defect"].dropna()) == set(re.findall(r"\| ([\w -]+) \| \d+ \| [ACS]", page))
    for defect, count in values["defect"].value_counts().items():
        assert f"| {defect} | {count} |" in page
    kinds = values["run"].str.replace("_", " ").str.split(" seed").str[0]
    for kind, of_kind in agree.groupby(kinds):
        group, network = kind.split()
        name = f"{group}, {'MLP' if network == 'MLP' else 'transformer'}"
        row = rf"\| {name}, seeds? [^|]*\| {len(of_kind)} \| {of_kind.sum()} \|"
        assert re.search(row, page), row


def test_the_wrong_values_are_those_of_the_table():
    page = (DOCS / "published.md").read_text()
    values = pd.read_csv(RESULTS / "published" / "comparison.csv").set_index(["run", "column"])
    for run_name, column, published, right in (
        ("C113_MLP_seed1", "total_hidden_restricted_loss", "9.84e-03", "2.19e-06"),
        ("C118_T_seed1", "total_hidden_restricted_loss", "1.63e-03", "1.41e-07"),
        ("C118_T_seed1", "total_hidden_excluded_loss", "9.54", "6.46"),
        ("A5_T_seed2", "total_hidden_restricted_loss", "1.68e-03", "1.32e-08"),
        ("S5_T_seed1", "sum_of_squared_weights", "0", "1,145"),
    ):
        row = values.loc[(run_name, column)]
        for text, value in ((published, row["published"]), (right, row["ours"])):
            assert float(text.replace(",", "")) == pytest.approx(float(value), rel=5e-3)
        assert f"| {published} | {right} |" in page


def test_the_courses_of_iteration_heads_are_those_of_the_table():
    page = (DOCS / "published.md").read_text()
    table = (RESULTS / "chain_of_thought" / "published-small.md").read_text()
    rows = [line for line in page.splitlines() if re.match(r"\| (polynomial|parity)", line)]
    assert len(rows) == 5 and all(row in table for row in rows)


@pytest.mark.slow
def test_the_guide_to_chain_of_thought_works(capsys):
    execute("chain_of_thought.md")
    printed = capsys.readouterr().out
    assert "1: 1.0" in printed  # as published, all short test sequences were trained on
    assert "counter -1 1 1 EoI 3 0 1" in printed
    assert "swap_through_last_mlp" in printed


@pytest.mark.slow
def test_the_guide_to_causal_analysis_works(capsys):
    execute("causal.md")
    printed = capsys.readouterr().out
    assert "('mirror', 'token', 'own', 'example')" in printed
    assert "('layer', 'head', 'position')" in printed
    assert "'faithfulness': 1.0" in printed or "'faithfulness': 0.99" in printed
    assert "'auroc': 1.0" in printed


@pytest.mark.slow
def test_the_guide_to_local_learning_coefficients_works(capsys):
    page = (DOCS / "llc.md").read_text()
    (example,) = blocks("python", page)
    exec(compile(example, "llc.md", "exec"), {})
    untrained, shift = capsys.readouterr().out.splitlines()
    assert untrained.startswith("no estimate: ") and "w* is not a minimum" in untrained
    assert shift.removeprefix("-") == "0.000 ()"


@pytest.mark.slow
def test_the_guide_to_rasp_works(capsys):
    execute("rasp.md")
    printed = capsys.readouterr().out
    assert "share = aggregate(select(indices, indices, <=), numerical(tokens == 'x'))" in printed
    assert "[[Fraction(0, 1), Fraction(1, 2), Fraction(2, 3)]]" in printed
    assert "all agree" in printed
    assert "embed->L0H0.q" in printed


# --- the site


def site_module():
    pytest.importorskip("mkdocs")
    spec = importlib.util.spec_from_file_location("hooks", DOCS / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_links_lead_where_the_site_has_their_pages():
    relink = site_module().relink
    assert relink("[t](../paper/results/x.md)", "llc.md") == "[t](paper/results/x.md)"
    assert relink("![p](a.svg)", "paper/results/x.md") == "![p](a.svg)"
    assert relink("[g](../../docs/llc.md#a)", "paper/results/x.md") == "[g](../../llc.md#a)"
    assert relink("[g](../llc.md)", "howto/task.md") == "[g](../llc.md)"
    assert relink("[w](https://a.b/c) [h](#x)", "llc.md") == "[w](https://a.b/c) [h](#x)"


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere(
    tmp_path, monkeypatch
):
    pytest.importorskip("mkdocs")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    config = load_config(str(ROOT / "mkdocs.yml"), strict=True, site_dir=str(tmp_path))
    build(config)  # raises Abort for a warning
    for page in tmp_path.rglob("*.html"):
        loaded = re.findall(
            r"<(?:script|img|link|iframe)[^>]*(?:src|href)=.?(https?://[^\s>]*)", page.read_text()
        )
        assert not loaded, (page, loaded)
    text = (tmp_path / "reference" / "command_line.html").read_text()
    assert all(f'id="{command}"' in text for command in COMMANDS)
    assert (tmp_path / "paper" / "results" / "p53_llc.svg").exists()
