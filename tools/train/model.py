# SPDX-License-Identifier: Apache-2.0
"""A small Mixture-of-Recursions model (expert-choice, middle_cycle) and its vanilla twin.

Notation: B sequences, T positions, d hidden size, N recursions, b layers in the shared block. The
residual stream H is [B, T, d] in float32; matrix products run in `compute_dtype` (bfloat16 where
the CPU has it), sums of the norms, the routers and the loss in float32.

A forward pass has one of two rules for who takes part in recursion r >= 2 (all take the first):
  top-k      training's: of the tokens still active the (N-r+1)/N * T with the highest router
             logits. Looks at the whole sequence, so it is not causal. Selected tokens are
             gathered: cost falls with r.
  threshold  serving's: a token still active goes on if its router logit is >= 0. Causal.
             Computed densely, under masks.
Update of a token that takes part: H <- H + alpha * sigmoid(logit) * block(H), where block(H)
includes its own residuals.
"""

import dataclasses
import math

import torch
import torch.nn.functional as F
from torch import nn

# Queries attended at once; bounds the scores kept and skips most keys above the diagonal.
QUERY_TILE = 256


@dataclasses.dataclass
class ModelConfig:
    kind: str = "mor"  # "mor" or "vanilla"
    vocabulary: int = 4096
    hidden: int = 256
    heads: int = 4
    kv_heads: int = 2
    ffn: int = 768
    shared_layers: int = 2
    recursions: int = 3
    alpha: float = 0.1
    max_positions: int = 1024
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5

    @property
    def head_dim(self):
        return self.hidden // self.heads

    @property
    def effective_layers(self):
        return 2 + self.shared_layers * self.recursions


@dataclasses.dataclass
class Routing:
    """What the routers of one forward pass did. Entry i belongs to recursion i + 2."""

    logits: list  # of [B, candidates] float32: the tokens that took the recursion before
    chosen: list  # of [B, candidates] bool: who took this one


def rope_tables(config):
    """cos and sin, each [max_positions, head_dim], in the layout of Llama's rotate_half."""
    half = torch.arange(0, config.head_dim, 2, dtype=torch.float64) / config.head_dim
    positions = torch.arange(config.max_positions, dtype=torch.float64)
    angles = positions[:, None] / config.rope_theta**half
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos().float(), angles.sin().float()


def rotate(x, cos, sin):
    """RoPE. x: [B, heads, T, head_dim]; cos, sin: [B or 1, 1, T, head_dim]."""
    low, high = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-high, low], dim=-1) * sin


def causal_bias(rows, columns, first_row, dtype):
    """[rows, columns] of 0 and -inf; row i is query first_row + i."""
    allowed = torch.arange(columns)[None, :] <= (first_row + torch.arange(rows))[:, None]
    return torch.zeros(rows, columns, dtype=dtype).masked_fill_(~allowed, float("-inf"))


def attend(q, k, v, key_active):
    """Causal grouped-query attention in tiles of queries.

    q: [B, kv_heads, group, T, head_dim], already scaled; k, v: [B, kv_heads, T, head_dim].
    key_active: [B, T] bool or None; keys that are not active are hidden from all but themselves (a
    token that is not active itself has a result that nobody uses, but it must not be NaN).
    """
    batch, kv_heads, group, length, head_dim = q.shape
    outputs = []
    for start in range(0, length, QUERY_TILE):
        end = min(start + QUERY_TILE, length)
        rows = end - start
        queries = q[:, :, :, start:end].reshape(batch, kv_heads, group * rows, head_dim)
        scores = torch.matmul(queries, k[:, :, :end].transpose(-1, -2))
        scores = scores.view(batch, kv_heads, group, rows, end)
        bias = causal_bias(rows, end, start, scores.dtype)
        if key_active is not None:
            itself = torch.arange(end)[None, :] == torch.arange(start, end)[:, None]
            bias = bias.masked_fill(~key_active[:, None, :end] & ~itself, float("-inf"))
            bias = bias[:, None, None]
        weights = torch.softmax(scores + bias, dim=-1).view(batch, kv_heads, group * rows, end)
        output = torch.matmul(weights, v[:, :, :end])
        outputs.append(output.view(batch, kv_heads, group, rows, head_dim))
    return torch.cat(outputs, dim=3)


class Norm(nn.Module):
    """RMSNorm: float32 in, `dtype` out."""

    def __init__(self, config):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config.hidden))
        self.eps = config.norm_eps

    def forward(self, x, dtype):
        scale = torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + self.eps)
        return (x * scale * self.weight).to(dtype)


class Matrix(nn.Module):
    """A linear map without bias whose product runs in its input's type."""

    def __init__(self, inputs, outputs, scale=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * (scale / math.sqrt(3 * inputs)))

    def forward(self, x):
        return F.linear(x, self.weight.to(x.dtype))


class Attention(nn.Module):
    def __init__(self, config, output_scale):
        super().__init__()
        self.config = config
        kv_size = config.kv_heads * config.head_dim
        self.q_proj = Matrix(config.hidden, config.hidden)
        self.k_proj = Matrix(config.hidden, kv_size)
        self.v_proj = Matrix(config.hidden, kv_size)
        self.o_proj = Matrix(config.hidden, config.hidden, output_scale)

    def forward(self, x, cos, sin, key_active):
        batch, length, _ = x.shape
        c = self.config
        split = lambda y, heads: y.view(batch, length, heads, c.head_dim).transpose(1, 2)
        scale = c.head_dim**-0.5
        q = rotate(split(self.q_proj(x), c.heads), cos * scale, sin * scale)
        k = rotate(split(self.k_proj(x), c.kv_heads), cos, sin)
        v = split(self.v_proj(x), c.kv_heads)
        q = q.view(batch, c.kv_heads, c.heads // c.kv_heads, length, c.head_dim)
        y = attend(q, k, v, key_active).reshape(batch, c.heads, length, c.head_dim)
        return self.o_proj(y.transpose(1, 2).reshape(batch, length, c.hidden))


class Mlp(nn.Module):
    def __init__(self, config, output_scale):
        super().__init__()
        self.gate_proj = Matrix(config.hidden, config.ffn)
        self.up_proj = Matrix(config.hidden, config.ffn)
        self.down_proj = Matrix(config.ffn, config.hidden, output_scale)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """A Llama decoder layer with its residuals."""

    def __init__(self, config):
        super().__init__()
        output_scale = 1 / math.sqrt(2 * config.effective_layers)
        self.input_layernorm = Norm(config)
        self.self_attn = Attention(config, output_scale)
        self.post_attention_layernorm = Norm(config)
        self.mlp = Mlp(config, output_scale)

    def forward(self, h, cos, sin, key_active=None):
        h = h + self.self_attn(self.input_layernorm(h, cos.dtype), cos, sin, key_active)
        return h + self.mlp(self.post_attention_layernorm(h, cos.dtype))


class Model(nn.Module):
    """Parts of both models: embedding (tied with the head), RoPE tables, last norm, logits."""

    def __init__(self, config, compute_dtype):
        super().__init__()
        self.config = config
        self.compute_dtype = compute_dtype
        self.embed_tokens = nn.Parameter(torch.randn(config.vocabulary, config.hidden) * 0.02)
        self.norm = Norm(config)
        cos, sin = rope_tables(config)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def rope_at(self, positions):
        """cos and sin [B or 1, 1, T, head_dim], compute type. positions: [B or 1, T] int64."""
        return (
            self.cos[positions].unsqueeze(1).to(self.compute_dtype),
            self.sin[positions].unsqueeze(1).to(self.compute_dtype),
        )

    def logits(self, h):
        """[..., vocabulary] in float32 of H [..., d] after the last layer."""
        x = self.norm(h, self.compute_dtype)
        return F.linear(x, self.embed_tokens.to(self.compute_dtype)).float()


class VanillaModel(Model):
    def __init__(self, config, compute_dtype):
        super().__init__(config, compute_dtype)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.effective_layers))

    def forward(self, tokens, rule=None):
        """H after the last layer, and no routing. tokens: [B, T] int64; rule is ignored."""
        h = F.embedding(tokens, self.embed_tokens)
        cos, sin = self.rope_at(torch.arange(tokens.shape[1])[None])
        for layer in self.layers:
            h = layer(h, cos, sin)
        return h, None


class MorModel(Model):
    def __init__(self, config, compute_dtype):
        super().__init__(config, compute_dtype)
        self.first = Layer(config)
        self.block = nn.ModuleList(Layer(config) for _ in range(config.shared_layers))
        self.last = Layer(config)
        self.routers = nn.ParameterList(
            [nn.Parameter(torch.randn(1, config.hidden) * 0.02) for _ in range(config.recursions)]
        )

    def forward(self, tokens, rule):
        """H after the last layer, and the Routing.

        tokens: [B, T] int64; rule: "top-k" or "threshold".
        """
        h = F.embedding(tokens, self.embed_tokens)
        positions = torch.arange(tokens.shape[1])[None]
        cos, sin = self.rope_at(positions)
        h = self.first(h, cos, sin)
        recur = {"top-k": self._recur_top_k, "threshold": self._recur_threshold}[rule]
        h, routing = recur(h, positions)
        return self.last(h, cos, sin), routing

    def _updated(self, x, logits, cos, sin, key_active=None):
        """x [B, S, d] after the shared block and its gate. logits: [B, S]."""
        y = x
        for layer in self.block:
            y = layer(y, cos, sin, key_active)
        return x + self.config.alpha * torch.sigmoid(logits).unsqueeze(-1) * y

    def _recur_top_k(self, h, positions):
        batch, length, hidden = h.shape
        recursions = self.config.recursions
        routing = Routing([], [])
        active = positions.expand(batch, length)  # positions of the tokens still active, ascending
        for r in range(recursions):
            rows = active.unsqueeze(-1).expand(-1, -1, hidden)
            x = h.gather(1, rows)
            logits = F.linear(x, self.routers[r]).squeeze(-1)
            if r > 0:
                count = max(1, (recursions - r) * length // recursions)
                picked = logits.topk(count, dim=1).indices.sort(dim=1).values
                routing.logits.append(logits)
                chosen = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, picked, True)
                routing.chosen.append(chosen)
                active, logits = active.gather(1, picked), logits.gather(1, picked)
                rows = active.unsqueeze(-1).expand(-1, -1, hidden)
                x = h.gather(1, rows)
            h = h.scatter(1, rows, self._updated(x, logits, *self.rope_at(active)))
        return h, routing

    def _recur_threshold(self, h, positions):
        cos, sin = self.rope_at(positions)
        routing = Routing([], [])
        active = torch.ones(h.shape[:2], dtype=torch.bool)
        for r in range(self.config.recursions):
            logits = F.linear(h, self.routers[r]).squeeze(-1)
            if r > 0:
                passes = logits >= 0
                routing.logits.append(logits)
                routing.chosen.append(active & passes)
                active = active & passes
            h = torch.where(active.unsqueeze(-1), self._updated(h, logits, cos, sin, active), h)
        return h, routing


def make_model(config, compute_dtype):
    return {"mor": MorModel, "vanilla": VanillaModel}[config.kind](config, compute_dtype)


def router_loss(routing):
    """Cross entropy of candidates' logits and training's choice, mean over recursions 2..N."""
    terms = [
        F.binary_cross_entropy_with_logits(logits, chosen.float())
        for logits, chosen in zip(routing.logits, routing.chosen)
    ]
    return torch.stack(terms).mean()
