"""AttentionCall: one call of fused attention inside an encoder, caught as it happens.

Encoders call `torch.nn.functional.scaled_dot_product_attention`, which never gives its weights
away. A mode that stands between Python and torch's functions (`torch.overrides`) keeps what went in
and came out, and the weights are computed from that, only for the tokens that are asked for. The
encoder is neither changed nor asked. The same mode sees the grids that convolutions and poolings
make, which tell where the tokens lie, those of pooled keys too.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from unetr_app.errors import InvalidRequest
from unetr_app.explain.evaluating import evaluating
from unetr_app.explain.token_layout import Grid, TokenLayout, find_layout

_ATTENTION = "scaled_dot_product_attention"


@dataclass(frozen=True, eq=False)
class AttentionCall:
    """What went into one call of attention, and what came out.

    A group is a set of tokens that see each other: all of an image, or one of its slices or lines.

    Args:
        name: Path of the module that called, as in ``blocks.3.attention``.
        query: (groups, heads, tokens, width).
        key: (groups, heads, keys, width).
        value: (groups, heads, keys, width).
        output: (groups, heads, tokens, width).
        bias: Added to the scores before the softmax; broadcasts to (groups, heads, tokens, keys).
        scale: What the scores are multiplied by.
        queries: Where the tokens that ask lie; None where that cannot be told.
        keys: Where the tokens that are looked at lie; None where that cannot be told.
    """

    name: str
    query: Tensor
    key: Tensor
    value: Tensor
    output: Tensor
    bias: Tensor | None
    scale: float
    queries: TokenLayout | None
    keys: TokenLayout | None

    @property
    def heads(self) -> int:
        """Attention heads."""
        return self.query.shape[1]

    def rows(self, group: int, tokens: Sequence[int] | slice) -> Tensor:
        """Where tokens of one group look: (heads, rows, keys), each row summing to 1."""
        query, key = self.query[group].float(), self.key[group].float()
        scores = query[:, tokens] @ key.transpose(-2, -1) * self.scale
        if self.bias is not None:
            whole = (len(self.query), self.heads, self.query.shape[2], self.key.shape[2])
            scores = scores + self.bias.float().expand(whole)[group][:, tokens]
        return scores.softmax(dim=-1)

    def weights(self) -> Tensor:
        """All attention, (groups, heads, tokens, keys); large where there are many tokens."""
        every = slice(None)
        return torch.stack([self.rows(group, every) for group in range(len(self.query))])


def capture_attention(encoder: nn.Module, x: Tensor) -> list[AttentionCall]:
    """Run an encoder on one input and keep what its attention does.

    Args:
        encoder: Keeps the encoders' contract; left as it is.
        x: (1, C, spatial...).

    Returns:
        The calls, in order.

    Raises:
        InvalidRequest: If the encoder has no attention over places.

    Example:
        >>> from unetr_app.networks import ENCODERS
        >>> vit = ENCODERS["vit"](1, (16, 16, 16), patch_size=8, embed_dim=8, depth=2, num_heads=2)
        >>> calls = capture_attention(vit, torch.zeros(1, 1, 16, 16, 16))
        >>> [(call.name, call.keys.grid) for call in calls]
        [('blocks.0.attention', (2, 2, 2)), ('blocks.1.attention', (2, 2, 2))]
    """
    if len(x) != 1:
        raise InvalidRequest(f"attention is shown of one input at a time, not of {len(x)}")
    strides: Sequence[Sequence[int]] = encoder.strides  # pyright: ignore[reportAssignmentType]
    grids = [tuple(n // s for n, s in zip(x.shape[2:], one, strict=True)) for one in strides]
    with evaluating(encoder), torch.no_grad(), _named_modules(encoder) as path:
        recorder = _Recorder(path, grids[::-1])
        with recorder:
            encoder(x)
    calls = recorder.calls
    widths: set[int] = set(encoder.channels)  # pyright: ignore[reportArgumentType]
    places = {prod(grid) for grid in recorder.seen}
    calls = [call for call in calls if not _is_over_channels(call, widths, places)]
    if not calls:
        raise InvalidRequest(
            "this encoder has no attention over places: it convolves or mixes, or its attention "
            "is over channels, as XCiT's is",
            cure="Look at its receptive field instead (--what erf).",
        )
    return calls


class _Recorder(TorchFunctionMode):
    """Keeps calls of attention, and the grids that the network has made.

    Args:
        path: Names of the modules that are running, outermost first; read at each call.
        grids: Grids that are known beforehand.
    """

    def __init__(self, path: Sequence[str], grids: Sequence[Grid]):
        super().__init__()
        self.calls: list[AttentionCall] = []
        self.seen: list[Grid] = list(grids)
        self._dims = len(grids[0])
        self._path = path

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name == _ATTENTION:
            self._keep(result, _arguments(*args, **(kwargs or {})))
        elif _makes_grid(name, result, self._dims):
            self.seen.append(tuple(result.shape[2:]))
        return result

    def _keep(self, output: Tensor, given: dict[str, Any]) -> None:
        query, key, value = (
            _grouped(given[name]).detach().cpu() for name in ("query", "key", "value")
        )
        if given["enable_gqa"]:  # a head of keys serves several of queries
            times = query.shape[1] // key.shape[1]
            key, value = (kept.repeat_interleave(times, dim=1) for kept in (key, value))
        queries = find_layout(len(query), query.shape[2], self.seen)
        keys = queries
        if queries is not None and key.shape[2] != query.shape[2]:
            keys = find_layout(len(key), key.shape[2], self.seen, prefix=queries.prefix)
        taken = [call.name for call in self.calls]
        name = self._path[-1] if self._path else ""
        again = sum(other == name or other.startswith(f"{name}#") for other in taken)
        self.calls.append(
            AttentionCall(
                name=f"{name}#{again + 1}" if again else name,
                query=query,
                key=key,
                value=value,
                output=_grouped(output).detach().cpu(),
                bias=_bias(given, query.shape[2], key.shape[2]),
                scale=given["scale"] or query.shape[-1] ** -0.5,
                queries=queries,
                keys=keys,
            )
        )


def _makes_grid(name: str, result: Any, dims: int) -> bool:
    """Is it what a convolution or pooling gave, (B, C, grid...)?"""
    is_one = "conv" in name or "pool" in name
    return is_one and isinstance(result, Tensor) and result.ndim == 2 + dims


def _arguments(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None,
    dropout_p: float = 0.0, is_causal: bool = False, scale: float | None = None,
    enable_gqa: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """The arguments of fused attention by name, however they were passed."""
    return dict(locals())


def _grouped(tokens: Tensor) -> Tensor:
    """(..., heads, tokens, width) with everything before the heads as one axis."""
    return tokens.reshape(-1, *tokens.shape[-3:]) if tokens.ndim >= 4 else tokens[None]


def _bias(given: dict[str, Any], tokens: int, keys: int) -> Tensor | None:
    mask: Tensor | None = given["attn_mask"]
    if given["is_causal"]:
        mask = torch.ones(tokens, keys, dtype=torch.bool).tril()
    if mask is None:
        return None
    mask = mask.detach().cpu()
    if mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape).masked_fill(~mask, -torch.inf)
    return _grouped(mask) if mask.ndim > 4 else mask


def _is_over_channels(call: AttentionCall, widths: set[int], places: set[int]) -> bool:
    """Are the channels of all places compared, rather than places?"""
    _, heads, tokens, width = call.query.shape
    return width in places and heads * tokens in widths and heads * width not in widths


@contextmanager
def _named_modules(network: nn.Module) -> Generator[list[str]]:
    """The names of the modules that are running, outermost first, kept up to date by hooks."""
    path: list[str] = []
    hooks: list[Any] = []

    def entering(name: str) -> Callable[..., None]:
        return lambda *_: path.append(name)

    def leaving(*_: Any) -> None:
        path.pop()

    for name, module in network.named_modules():
        hooks.append(module.register_forward_pre_hook(entering(name)))
        hooks.append(module.register_forward_hook(leaving))
    try:
        yield path
    finally:
        for hook in hooks:
            hook.remove()
