"""The metrics of a checkpoint are those of the tables, by component."""

from dataclasses import replace

import pytest

from analysis.iteration import attention_scores, iteration_metrics, length_scores
from analysis.iteration.measure import LENGTH_METRICS
from analysis.scores import standard_metrics
from interp.models.iteration_head import iteration_head
from tasks.iteration import Mixed, Parity, Polynomial

TASK = Polynomial(modulus=5, max_length=5, n_per_length=64)
TASKS = {
    "default": TASK,
    "published": replace(TASK, preset="published"),
    "no chain of thought": replace(TASK, chain_of_thought=False),
    "final": Parity(targets="final", slack=1, max_length=4, n_per_length=20),
    "mixed": Mixed(max_length=3, n_per_length=40),
    "no test": replace(TASK, train_fraction=1.0),
}
every_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


@every_task
def test_losses_and_accuracies_are_the_standard_ones(task, untrained):
    model = untrained(task)
    metrics = iteration_metrics(model, task)
    expected = standard_metrics(model, task)
    for name, value in expected.items():
        assert metrics[name] == {"": pytest.approx(value, rel=1e-6)}, name
    others = {name for name in metrics if not name.startswith(("iteration/", "attention/"))}
    assert others == set(expected)


@every_task
def test_lengths_are_those_of_the_table(task, untrained):
    model = untrained(task)
    metrics = iteration_metrics(model, task)
    tables = {"": length_scores(model, task), "train_": length_scores(model, task, "train")}
    names = [("train_", "sequence_accuracy")]
    if len(tables[""]):
        names += [("", name) for name in LENGTH_METRICS if tables[""][name].notna().all()]
    assert {name for name in metrics if name.startswith("iteration/")} == {
        f"iteration/{split}{name}" for split, name in names
    }
    for split, name in names:
        found = dict(metrics[f"iteration/{split}{name}"])
        total = found.pop("")
        table = tables[split].set_index("length")[name]
        assert found == pytest.approx({f"length:{n}": v for n, v in table.items()}, abs=1e-12)
        assert total == pytest.approx(table[table.index >= min(4, task.max_length)].mean())


def test_attention_is_averaged_from_length_4(untrained):
    model = untrained(TASK)
    metrics = iteration_metrics(model, TASK)
    scores = attention_scores(model, TASK)
    long = scores[scores["length"] >= 4].groupby(["layer", "head", "role"])
    for name in ("mean", "above_half", "invariance"):
        expected = {f"L{i}H{j}:{role}": v for (i, j, role), v in long[name].mean().items()}
        assert len(expected) == 2 * 2 * 4
        assert metrics[f"attention/{name}"] == pytest.approx(expected, abs=1e-12)


def test_averages_are_over_lengths_with_enough_sequences(untrained):
    """Parity has 8 test sequences of length 4, and 16 of length 5, 32 of each longer one."""
    task = Parity(max_length=8, n_per_length=64)
    found = iteration_metrics(untrained(task), task)["iteration/token_accuracy"]
    expected = sum(found[f"length:{n}"] for n in (6, 7, 8)) / 3
    assert found[""] == pytest.approx(expected, abs=1e-12)


def test_the_hand_set_network_has_every_metric_1_beyond_training_too():
    task = replace(TASK, longest=8)
    metrics = iteration_metrics(iteration_head(task), task)
    for name in LENGTH_METRICS:
        found = metrics[f"iteration/{name}"]
        assert set(found) == {"", "beyond", *(f"length:{n}" for n in range(1, 9))}
        assert set(found.values()) == {1.0}, name
    assert metrics["attention/mean"]["L1H0:x_t"] == pytest.approx(1, abs=1e-6)


def test_beyond_is_the_mean_of_the_longer_lengths(untrained, monkeypatch):
    import analysis.iteration.measure as module

    task = replace(TASK, longest=7)
    model = untrained(task)
    found = iteration_metrics(model, task)["iteration/token_accuracy"]
    assert found["beyond"] == pytest.approx((found["length:6"] + found["length:7"]) / 2)
    table = length_scores(model, replace(task, max_length=7)).set_index("length")
    assert found["length:7"] == pytest.approx(table.loc[7, "token_accuracy"], abs=1e-12)
    monkeypatch.setattr(module, "AT_MOST", 5)
    few = iteration_metrics(model, task)["iteration/token_accuracy"]
    assert few[""] == found[""] and few["length:7"] != found["length:7"]
