"""What lies on either side of the last hidden layer, in the same words for every architecture.

At the last position, logits = hidden @ readout for the networks without a residual stream, and
hidden @ readout + skip @ unembed_skip for a transformer, whose skip is what bypasses its last MLP.
"""

from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import Module

from interp.models.mlp import HookedBilinear, HookedMLP
from interp.models.stacked import last_mlp
from interp.models.transformer import BareTransformer


@dataclass(frozen=True)
class HiddenLayer:
    """The last hidden layer of a network and the linear maps around it.

    Differentiable where the network is: wrap uses in `torch.no_grad()` or detach.
    """

    model: HookedMLP | HookedBilinear | BareTransformer

    @property
    def embeddings(self) -> tuple[Float[Tensor, "token width"], Float[Tensor, "token width"]]:
        """The effective embedding of every token as first and as second operand.

        The MLP's are its shares of the hidden layer before the ReLU, width d_mlp. A transformer
        has one embedding, given twice.
        """
        model = self.model
        if isinstance(model, HookedMLP):
            d_embed = model.config.d_embed
            return model.W_E_a @ model.W_in[:d_embed], model.W_E_b @ model.W_in[d_embed:]
        if isinstance(model, HookedBilinear):
            return model.W_E_a, model.W_E_b
        return model.W_E, model.W_E

    @property
    def readout(self) -> Float[Tensor, "neuron output"]:
        """From the hidden layer to the logits: W_U, or W_out W_U."""
        if isinstance(self.model, BareTransformer):
            return self.model.blocks[-1].mlp.W_out @ self.model.W_U
        return self.model.W_U

    @property
    def unembed_skip(self) -> Float[Tensor, "d_model output"] | None:
        """From the skip to the logits: W_U, or None where there is no skip."""
        return self.model.W_U if isinstance(self.model, BareTransformer) else None

    def hidden(self, tokens: Int64[Tensor, "example position"]) -> Float[Tensor, "example neuron"]:
        """The neurons after the activation function (the bilinear net: the product)."""
        return self.hidden_and_skip(tokens)[0]

    def skip(
        self, tokens: Int64[Tensor, "example position"]
    ) -> Float[Tensor, "example d_model"] | None:
        """The residual stream before the last MLP, or None where there is no such thing."""
        return self.hidden_and_skip(tokens)[1]

    def hidden_and_skip(
        self, tokens: Int64[Tensor, "example position"]
    ) -> tuple[Float[Tensor, "example neuron"], Float[Tensor, "example d_model"] | None]:
        """Both, without the work that only other positions or the logits need."""
        model = self.model
        if isinstance(model, BareTransformer):
            weights = {name: weight[None] for name, weight in model.named_parameters()}
            hidden, skip = last_mlp(model, weights, tokens[None], tokens.shape[1] - 1)
            return hidden[0, :, 0], skip[0, :, 0]
        first, second = self.embeddings
        embed_a, embed_b = first[tokens[:, 0]], second[tokens[:, 1]]
        if isinstance(model, HookedBilinear):
            return embed_a * embed_b, None
        pre = embed_a + embed_b
        return (pre if model.b_in is None else pre + model.b_in).relu(), None


def hidden_layer(model: Module) -> HiddenLayer:
    """The last hidden layer of `model`.

    Raises `ValueError` for a network of another architecture, a `HookedTransformer` with a final
    normalisation among them: its logits are no linear function of the hidden layer.
    """
    if isinstance(model, HookedMLP | HookedBilinear | BareTransformer):
        return HiddenLayer(model)
    normalised = " with a final normalisation" if hasattr(model, "ln_final") else ""
    raise ValueError(
        f"{type(model).__name__}{normalised} has no hidden layer that maps linearly to the logits: "
        "known are the networks of MLPConfig, BilinearConfig and TransformerConfig"
    )
