"""The HTML report: what it says, that it needs nothing else, and runs that lack this or that."""

import re
import shutil
import subprocess
from dataclasses import dataclass, replace

import pandas as pd
import plotly.graph_objects as go
import pytest
import torch
from plotly.offline import get_plotlyjs

from analysis.plots.page import figures_json
from analysis.report import write_report
from interp.models.config import MLPConfig, TransformerConfig
from interp.runs.recipe import Recipe, Schedule
from interp.runs.run import Run
from tasks.atomic import write_text
from tasks.composition import GroupComposition
from tasks.task import IGNORE, Examples, Split, Task

STEPS = 10


@dataclass(frozen=True)
class Echo(Task):
    """Say the token. It has nothing to do with groups."""

    size: int = 3
    name = "echo"
    vocabulary = ("x", "y", "<script>")
    context_length = 2

    def examples(self, split: Split = "all") -> Examples:
        tokens = torch.tensor([[0, 1], [1, 2]])
        return Examples(tokens, torch.tensor([[IGNORE, 1], [IGNORE, 2]]))


def group_run(folder, seed: int = 0, trained: bool = True) -> Run:
    """A run on C5, with everything a run can have."""
    task = GroupComposition("C5", train_fraction=0.8, split_seed=seed)
    recipe = Recipe(task=task, model=MLPConfig(8, 6), schedule=Schedule(steps=STEPS))
    run = Run.create(folder / f"C5_mlp_seed{seed}", replace(recipe, init_seed=seed))
    if trained:
        model = run.recipe.model.build(task, seed)
        run.save_weights(STEPS, dict(model.named_parameters()))
        write_records(run, seed)
    return run


def write_records(run: Run, seed: int) -> None:
    loss, similarity = 0.001 * (1 + seed), [("irrep:freq_1", 0.1), ("irrep:freq_2", 0.9)]
    values = {"loss/test": loss, "loss/train": 1e-6, "accuracy/test": 1.0, "embed_a/fve": 0.98765}
    values |= {"embed_b/fve": 0.98, "model/excluded_loss": 3.5, "model/restricted_loss": 4.2e-7}
    rows = [(step, metric, "", v) for step in (0, 1, STEPS) for metric, v in values.items()]
    rows += [(s, "logits/similarity", c, v) for s in (0, 1, STEPS) for c, v in similarity]
    run.write_metrics(pd.DataFrame(rows, columns=["step", "metric", "component", "value"]))
    run.write_json("summary.json", {"step": STEPS, "key_irreps": ["freq_2"], **values})
    history = {"step": [0, STEPS] * 2, "split": ["train"] * 2 + ["test"] * 2, "weight_norm": 5.0}
    scores = {"loss": [2, 1e-6, 2, loss], "accuracy": [0.2, 1.0, 0.2, 1.0]}
    run.write_history(pd.DataFrame(history | scores))


def report(tmp_path, *runs: Run) -> str:
    """The page without plotly.js."""
    path = tmp_path / "report.html"
    write_report(runs, path)
    text = path.read_text()
    assert text.count(get_plotlyjs()) == 1
    return text.replace(get_plotlyjs(), "")


def figure_names(page: str) -> set[str]:
    return set(re.findall(r'<div class="plot" id="([^"]+)"', page))


def test_it_needs_nothing_from_anywhere(tmp_path):
    page = report(tmp_path, group_run(tmp_path), group_run(tmp_path, 1))
    assert "http:" not in page and "https:" not in page and "@import" not in page
    assert not re.search(r"<(script|img|link|iframe)[^>]*\b(src|href)=", page)


def test_one_run_is_told_in_words_and_numbers(tmp_path):
    run = group_run(tmp_path)
    page = report(tmp_path, run)
    assert "composition in the group C5 of order 5: given a and b, say ab; 20 of the 25" in page
    assert "two embeddings of width 8, 6 hidden neurons" in page and "10 steps of AdamW" in page
    assert "It reaches a test accuracy of 99% (from step 10 on); in the end it is 100.00%." in page
    assert "order of learning: freq_2" in page
    assert "hold 40.0% of the group&#39;s dimensions and explain 98.0% to 98.8%" in page
    assert "the training loss is 3.50 nats" in page and "4.20e-07" in page
    assert str(run.path) in page and "<details><summary>C5_mlp_seed0" not in page
    assert {"s1-r1-loss", "s1-r1-embed_a_circles", "s1-r1-fve"} <= figure_names(page)


def test_seeds_stand_side_by_side_with_their_spread(tmp_path):
    page = report(tmp_path, group_run(tmp_path), group_run(tmp_path, 1), group_run(tmp_path, 2))
    assert "<h1>C5_mlp</h1>" in page and "<dd>0, 1, 2</dd>" in page
    assert "<td>2.00e-03 ± 1.00e-03</td>" in page  # 1, 2 and 3 thousandths
    assert "3 of 3 networks reach a test accuracy of 99%" in page and "all share freq_2" in page
    assert page.count("<details><summary>C5_mlp_seed") == 3
    assert {"s1-loss", "s1-learning_order", "s1-r2-loss"} <= figure_names(page)


def test_runs_of_other_recipes_get_sections_of_their_own(tmp_path):
    recipe = Recipe(task=GroupComposition("S3"), model=MLPConfig(8, 6), schedule=Schedule(steps=0))
    other = Run.create(tmp_path / "S3", recipe)
    page = report(tmp_path, group_run(tmp_path), other, group_run(tmp_path, 1))
    assert page.count("<section") == 3 and '<a href="#s2">S3</a>' in page
    assert "not trained" in page


def test_a_run_that_has_nothing_yet(tmp_path):
    page = report(tmp_path, group_run(tmp_path, trained=False))
    assert "Nothing was measured yet" in page and "no checkpoints" in page
    assert not figure_names(page)


@pytest.mark.parametrize("lost", ["history.parquet", "metrics.parquet", "summary.json"])
def test_a_run_that_lost_a_file(tmp_path, lost):
    run = group_run(tmp_path)
    (run.path / lost).unlink()
    page = report(tmp_path, run)
    assert "1.00e-03" in page and "s1-r1-loss" in figure_names(page)


def test_a_run_without_key_irreps_says_why(tmp_path):
    run = group_run(tmp_path)
    none = {"key_irreps": [], "key_irreps_rule": "none: the test accuracy 0.5 is below 0.95"}
    run.write_json("summary.json", run.summary() | none)
    assert "no key irreps (none: the test accuracy 0.5 is below 0.95)" in report(tmp_path, run)


def test_an_interrupted_run(tmp_path):
    run = group_run(tmp_path)
    run.checkpoint_path(STEPS).rename(run.checkpoint_path(4))
    assert "trained to step 4 of 10" in report(tmp_path, run)


def test_a_task_that_has_nothing_to_do_with_groups(tmp_path):
    recipe = Recipe(task=Echo(size=2), model=TransformerConfig(), schedule=Schedule(steps=STEPS))
    run = Run.create(tmp_path / "echo", recipe)
    rows = [(STEPS, "loss/test", "", 0.25), (STEPS, "mine/attention", "L0H1", 0.75)]
    rows += [(STEPS, "mine/<score>", "", 2.5), (STEPS, "accuracy/test", "", 0.5)]
    run.write_metrics(pd.DataFrame(rows, columns=["step", "metric", "component", "value"]))
    own = {"mine/attention[L0H1]": 0.75, "mine/<score>": 2.5}
    run.write_json("summary.json", {"step": STEPS, "loss/test": 0.25, "accuracy/test": 0.5} | own)
    page = report(tmp_path, run)
    assert "echo: say the token (size = 2)" in page and "2.50e-01" in page
    assert "<th>mine/&lt;score&gt;</th>" in page and "<td>0.75</td>" in page
    assert "It does not reach a test accuracy of 99%" in page and "irrep" not in page.lower()
    assert {"s1-r1-loss", "s1-r1-mine_attention_by_component"} <= figure_names(page)


def test_every_picture_is_drawn_in_a_browser(tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("there is no Chromium to look with")
    page = report(tmp_path, group_run(tmp_path))
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000"]
    command += ["--dump-dom", (tmp_path / "report.html").as_uri()]
    drawn = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    unfolded = re.sub(r"<details>.*?</details>", "", page, flags=re.DOTALL)
    assert len(figure_names(unfolded)) >= 5
    assert len(re.findall(r'class="[^"]*svg-container', drawn)) == len(figure_names(unfolded))


def checkpoint(step: int, value: float, failure: str = "") -> dict:
    check = {"name": "trend", "value": 0.5, "limit": 0.1, "passed": not failure, "reason": failure}
    found = {"step": step, "llc/unchecked": value, "checks": [check]}
    return found if failure else found | {"llc/low": value - 1, "llc/high": value + 1}


def test_coefficients_are_numbers_only_where_all_checks_pass(tmp_path):
    run = group_run(tmp_path)
    (run.path / "llc").mkdir()
    run.write_json("llc/all.json", {"checkpoints": [checkpoint(STEPS, 5.0)]})
    failed = checkpoint(STEPS, 7.0, "draw more")
    run.write_json("llc/live.json", {"checkpoints": [failed]})
    run.write_json("llc/kl.json", {"checkpoints": [failed, checkpoint(STEPS, 3.0)]})
    page = report(tmp_path, run)
    assert "Its local learning coefficient is 5 (95% interval 4 to 6)." in page
    assert "There is no local learning coefficient (live): draw more." in page
    assert "Of 2 local learning coefficients (kl), over checkpoints and runs, 1 pass" in page
    assert {"s1-r1-llc_all", "s1-r1-llc_live"} <= figure_names(page)


def test_circuits_and_their_pictures(tmp_path):
    run = group_run(tmp_path)
    folder = run.path / "causal" / "circuit_exact_corrupted_first_step_0000010"
    curve = pd.DataFrame({"edges": [0, 1, 2], "faithfulness": [0.1, 0.95, 1.0]})
    write_text(folder / "curve.csv", curve.to_csv(index=False))
    write_text(folder / "truth.csv", "auroc\n0.75\n")
    write_text(folder / "circuit.figures.json", figures_json({"circuit": go.Figure()}))
    page = report(tmp_path, run)
    assert "1 of 2 edges do 90% of what the network does; against the true circuit" in page
    assert "ROC is 0.750" in page and f"s1-r1-{folder.name}_circuit" in figure_names(page)


def test_recipes_that_differ_in_a_setting_are_compared_by_it(tmp_path):
    first, second = group_run(tmp_path), group_run(tmp_path / "other", 1)
    wider = replace(second.recipe, model=MLPConfig(8, 12))
    (second.path / "recipe.json").write_text(wider.to_json())
    page = report(tmp_path, first, Run(second.path))
    side_by_side = page[page.index("Side by side</h2>") : page.index('<section id="s1"')]
    assert "<th>d_mlp</th>" in side_by_side and "<th>task</th>" not in side_by_side
    assert "<td>6</td>" in side_by_side and "<td>12</td>" in side_by_side
    assert "<td>100.00%</td>" in side_by_side
    assert {"compared-compared_loss", "compared-compared_accuracy"} <= figure_names(page)
