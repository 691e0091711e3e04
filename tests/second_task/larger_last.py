"""A task that has nothing to do with groups, and a metric for it, as a user would write them."""

from dataclasses import dataclass

import torch

from tasks.task import IGNORE, Examples, Split, Task


@dataclass(frozen=True)
class LargerLast(Task):
    """Two pairs with a separator between; after the last token, the larger of their ends."""

    name = "larger_last"
    outputs = ("0", "1", "2", "3", "4")
    vocabulary = (*outputs, "|")
    context_length = 5

    def examples(self, split: Split = "all") -> Examples:
        values = torch.cartesian_prod(*[torch.arange(5)] * 4)
        if split != "all":
            order = torch.randperm(625, generator=torch.Generator().manual_seed(self.split_seed))
            values = values[order[:400] if split == "train" else order[400:]]
        separator = torch.full((len(values), 1), 5)
        tokens = torch.cat([values[:, :2], separator, values[:, 2:]], dim=1)
        targets = torch.full_like(tokens, IGNORE)
        targets[:, -1] = torch.maximum(values[:, 1], values[:, 3])
        return Examples(tokens, targets)


def attention_to_separator(model: torch.nn.Module, task: Task) -> dict[str, dict[str, float]]:
    """Mean attention of each head of layer 0 from the last position to the separator."""
    _, cache = model.run_with_cache(task.examples("test").tokens)
    pattern = cache["blocks.0.attn.hook_pattern"][:, :, -1, 2].mean(dim=0)
    return {"attention/separator": {f"L0H{head}": float(p) for head, p in enumerate(pattern)}}
