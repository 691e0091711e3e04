"""What every part of a compiled model does, for people."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from interp.models.graph import head_name, mlp_name
from interp.rasp.compiled import CompiledModel


@dataclass(frozen=True)
class Explanation:
    """The parts of a compiled model; printed, a table."""

    program: str
    shape: str
    parts: Mapping[str, tuple[str, ...]]
    """What each head and each MLP that does something computes."""
    n_layers: int
    n_heads: int
    directions: Mapping[str, tuple[str, ...]]
    """The residual stream: each variable with its values; a number has none."""
    live_parameters: int
    parameters: int
    """All of them, embeddings and unembedding included."""

    def __str__(self) -> str:
        width = max(map(len, ("residual", *self.parts))) + 2
        lines = [f"{'program':<{width}}{self.program}", f"{'shape':<{width}}{self.shape}"]
        for part, expressions in self.parts.items():
            for i, expression in enumerate(expressions):
                lines.append(f"{part if i == 0 else '':<{width}}{expression}")
        for i, (variable, values) in enumerate(self.directions.items()):
            text = f"{variable}: {_brief_list(values)}" if values else variable
            lines.append(f"{'residual' if i == 0 else '':<{width}}{text}")
        share = self.live_parameters / self.parameters
        live = f"{self.live_parameters:,} of {self.parameters:,} parameters ({share:.1%})"
        return "\n".join([*lines, f"{'live':<{width}}{live}"])


def explain(compiled: CompiledModel) -> Explanation:
    """Layers and heads with the expression each computes, the live directions and parameters."""
    made, cfg = compiled.circuitry, compiled.model.cfg
    parts: dict[str, tuple[str, ...]] = {}
    for layer, (heads, neurons) in enumerate(zip(made.heads, made.neurons, strict=True)):
        for i, head in enumerate(heads):
            parts[head_name(layer, i)] = (compiled.definition(head.output),)
        if neurons:
            sizes = Counter(sop for sop, _ in neurons)
            parts[mlp_name(layer)] = tuple(
                f"{compiled.definition(sop)}  ({_plural(n, 'neuron')})" for sop, n in sizes.items()
            )
    directions: dict[str, tuple[str, ...]] = {}
    for direction in made.basis:
        name = "BOS" if direction.variable is None else compiled.name(direction.variable)
        categorical = direction.variable is not None and not direction.variable.is_numerical
        values = (str(direction.value),) if categorical else ()
        directions[name] = directions.get(name, ()) + values
    mask = compiled.live_mask()
    return Explanation(
        program=compiled.definition(compiled.circuitry.output),
        shape=f"{_plural(cfg.n_layers, 'layer')} x {_plural(cfg.n_heads, 'head')}, d_model "
        f"{cfg.d_model}, d_head {cfg.d_head}, d_mlp {cfg.d_mlp or 0}",
        parts=parts,
        n_layers=cfg.n_layers,
        n_heads=cfg.n_heads,
        directions=directions,
        live_parameters=sum(int(live.sum()) for live in mask.values()),
        parameters=sum(live.numel() for live in mask.values()),
    )


def _plural(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"


def _brief_list(values: tuple[str, ...]) -> str:
    return ", ".join(values if len(values) <= 12 else (*values[:5], "...", values[-1]))
