"""What was found, in sentences."""

from collections.abc import Sequence

from analysis.describe import GENERALISED, Findings


def summary(found: list[Findings]) -> list[str]:
    """What was found, in sentences."""
    return [
        sentence
        for write in (_on_generalisation, _on_key_irreps, _on_shares, _on_losses)
        if (sentence := write(found))
    ]


def _on_generalisation(found: list[Findings]) -> str:
    scored = [f for f in found if f.accuracy_test is not None]
    if not scored:
        return ""
    good = [f for f in scored if (f.accuracy_test or 0) >= GENERALISED]
    steps = [f.generalised_at for f in good if f.generalised_at is not None]
    when = f" (from step {between(steps, ',d')} on)" if steps else ""
    accuracies = between([f.accuracy_test or 0 for f in scored], ".2%")
    if len(found) == 1:
        who = "It reaches" if good else "It does not reach"
    else:
        verb = "reaches" if len(good) == 1 else "reach"
        who = f"{len(good)} of {len(scored)} networks {verb}"
    return f"{who} a test accuracy of {GENERALISED:.0%}{when}; in the end it is {accuracies}."


def _on_key_irreps(found: list[Findings]) -> str:
    judged = [f for f in found if f.key_irreps is not None]
    if not judged:
        return ""
    if len(judged) == 1:
        (one,) = judged
        if not one.key_irreps:
            return f"It has no key irreps ({one.key_rule or 'none passes the threshold'})."
        return f"Its key irreps, in order of learning: {', '.join(one.key_irreps)}."
    sets = [set(f.key_irreps or ()) for f in judged]
    shared = [i for i in judged[0].key_irreps or () if all(i in s for s in sets)]
    together = f"all share {', '.join(shared)}" if shared else "none is common to all"
    return f"They have {between([len(s) for s in sets], 'd')} key irreps; {together}."


def _on_shares(found: list[Findings]) -> str:
    sure = [f for f in found if f.key_irreps and f.dimension_share and "embed_a/fve" in f.values]
    if not sure:
        return ""
    dimensions = between([f.dimension_share or 0 for f in sure], ".1%")
    explained = between(
        [f.values[name] for f in sure for name in ("embed_a/fve", "embed_b/fve")], ".1%"
    )
    return (
        f"The key irreps hold {dimensions} of the group's dimensions and explain {explained} of "
        "the embeddings."
    )


def _on_losses(found: list[Findings]) -> str:
    names = ("model/excluded_loss", "model/restricted_loss")
    sure = [f for f in found if f.key_irreps and all(name in f.values for name in names)]
    if not sure:
        return ""
    excluded, restricted = ([f.values[name] for f in sure] for name in names)
    return (
        "Without the hidden layer's part in the key irreps of ab, the training loss is "
        f"{between(excluded, '.2f')} nats; with nothing but that part, the loss on all data is "
        f"{between(restricted, '.2e')} nats."
    )


def between(values: Sequence[int | float], form: str) -> str:
    """The smallest to the largest; one of them where they are printed alike."""
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low} to {high}"


def how_sure(found: list[Findings]) -> list[str]:
    """What the numbers rest on, in sentences."""
    n = len(found)
    one = "Of one network: another seed may find something else."
    several = f"Of {n} networks with seeds of their own: their spread is in the tables."
    rule = next((f.key_rule for f in found if f.key_rule), "")
    return [several if n > 1 else one, *[f"Key irreps: {rule}."] * bool(rule)]
