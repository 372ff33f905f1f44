"""A complete small text model: embeddings, positions, transformer blocks, and a head that predicts or classifies."""

import json
from pathlib import Path
from typing import Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from heed.attention.modules.blocks import TransformerEncoderBlock
from heed.attention.modules.cache import KeyValue
from heed.attention.modules.check import token_ids
from heed.attention.modules.config import ModelConfig
from heed.attention.modules.embedding import TokenEmbedding
from heed.attention.modules.positions import LearnedPositions, SinusoidalPositions
from heed.errors import BrokenModelError, InputError, ModelNotFoundError

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"


class AttentionModel(nn.Module):
    """Token ids to logits: of the next token for ``head="causal_lm"``, of classes for ``head="classification"``.

    The blocks are `TransformerEncoderBlock`, causal in a language model. With ``tie_embeddings`` the embedding
    table is the output layer as well. `save` and `load` keep a folder of ``config.json`` and ``model.safetensors``.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width = config.d_model
        self.embedding = TokenEmbedding(config.vocab_size, width, scaled=True)
        self.positions: SinusoidalPositions | LearnedPositions | None = None
        if config.positions == "sinusoidal":
            self.positions = SinusoidalPositions(width)
        elif config.positions == "learned":
            self.positions = LearnedPositions(config.max_positions, width)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(_block(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(width, config.layer_norm_eps) if config.norm_first else nn.Identity()
        outputs = config.vocab_size if self.causal else config.num_classes
        tied = self.causal and config.tie_embeddings
        self.head = None if tied else nn.Linear(width, outputs, bias=not self.causal)

    @property
    def causal(self) -> bool:
        """Whether a token sees only what stands before it."""
        return self.config.head == "causal_lm"

    def new_cache(self) -> list[KeyValue]:
        """An empty cache, one entry for each block."""
        return [KeyValue() for _ in self.blocks]

    def forward(
        self,
        ids: Int[Tensor, "B S"],
        *,
        key_mask: Bool[Tensor, "B T"] | None = None,
        cache: list[KeyValue] | None = None,
    ) -> Float[Tensor, "B S vocab"] | Float[Tensor, "B classes"]:
        """Logits for each token, or for each text.

        In ``key_mask`` True is a real token; with a ``cache`` it covers the T tokens held and new. Real tokens are
        numbered from 0 in each text, so padding may stand on either side; at padded tokens the output means nothing.
        """
        positions = self._check(ids, key_mask, cache)
        hidden = self.embedding(ids)
        if self.positions is not None:
            hidden = hidden + self.positions(positions)
        hidden = self.dropout(hidden)
        for index, block in enumerate(self.blocks):
            held = None if cache is None else cache[index]
            hidden = block(hidden, key_mask=key_mask, is_causal=self.causal, positions=positions, cache=held)
        hidden = self.norm(hidden)
        if not self.causal:
            hidden = self._pooled(hidden, key_mask)
        if self.head is None:
            return functional.linear(hidden, self.embedding.weight)
        logits: Tensor = self.head(hidden)
        return logits

    @torch.no_grad()
    def generate(
        self,
        ids: Int[Tensor, "B S"],
        max_new_tokens: int,
        *,
        key_mask: Bool[Tensor, "B S"] | None = None,
        temperature: float = 0.0,
        top_k: int | None = None,
        eos_id: int | None = None,
        generator: torch.Generator | None = None,
        use_cache: bool = True,
    ) -> Int[Tensor, "B S+n"]:
        """Continue each prompt by up to ``max_new_tokens``; prompts of different length are padded on the left.

        ``temperature=0`` takes the likeliest token, else one is drawn from ``softmax(logits / temperature)`` over the
        ``top_k`` likeliest. A text that reached ``eos_id`` is filled with ``pad_id``; when all did, generation ends.
        Raises InputError for a classifier, for a model in training, and for padding on the right.
        """
        token_ids(ids)
        self._check_generation(max_new_tokens, temperature, top_k, key_mask)
        cache = self.new_cache() if use_cache else None
        done = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        new = ids
        for _ in range(max_new_tokens):
            logits = self(new if use_cache else ids, key_mask=key_mask, cache=cache)[:, -1]
            token = _choose(logits, temperature, top_k, generator).masked_fill(done, self.config.pad_id)
            new = token[:, None].to(ids.dtype)
            ids = torch.cat([ids, new], 1)
            if key_mask is not None:
                key_mask = functional.pad(key_mask, (0, 1), value=True)
            if eos_id is not None:
                done = done | (token == eos_id)
                if bool(done.all()):
                    break
        return ids

    def save(self, folder: Path | str) -> None:
        """Write ``config.json`` and ``model.safetensors`` into a folder, which is made if it is not there."""
        from safetensors.torch import save_file

        folder = Path(folder)
        text = json.dumps(self.config.to_dict(), indent=2) + "\n"
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: x.contiguous() for name, x in self.state_dict().items()}, folder / WEIGHTS_FILE)
        (folder / CONFIG_FILE).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """The model that `save` wrote, in evaluation mode on the CPU.

        Raises ModelNotFoundError where the files are not there, BrokenModelError where they are cut or do not fit.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        folder = Path(folder)
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            if not (folder / name).is_file():
                raise ModelNotFoundError(f"expected {CONFIG_FILE} and {WEIGHTS_FILE} in {folder}, found no {name}")
        try:
            values = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
            model = cls(ModelConfig.from_dict(values))
            state = load_file(folder / WEIGHTS_FILE)
            if len({x.dtype for x in state.values() if x.is_floating_point()}) == 1:
                model.to(next(x.dtype for x in state.values() if x.is_floating_point()))
            model.load_state_dict(state)
        except (ValueError, TypeError, AttributeError, SafetensorError, RuntimeError, InputError) as error:
            raise BrokenModelError(f"{folder} holds no readable model: {error}; save it again") from error
        return model.eval()

    def _pooled(self, hidden: Tensor, key_mask: Tensor | None) -> Float[Tensor, "B d"]:
        """One vector for each text, of its real tokens."""
        if key_mask is None:
            key_mask = torch.ones(hidden.shape[:2], dtype=torch.bool, device=hidden.device)
        if self.config.pooling == "mean":
            share = key_mask.to(hidden.dtype)[..., None]
            return (hidden * share).sum(1) / share.sum(1)
        steps = torch.arange(hidden.shape[1], device=hidden.device)
        at = key_mask.int().argmax(1) if self.config.pooling == "first" else (steps * key_mask).argmax(1)
        return hidden[torch.arange(len(hidden), device=hidden.device), at]

    def _check(self, ids: Tensor, key_mask: Tensor | None, cache: list[KeyValue] | None) -> Int[Tensor, "b S"]:
        """The positions of the tokens, counted over real ones; raises InputError for what does not fit."""
        token_ids(ids)
        if ids.dim() != 2 or 0 in ids.shape:
            raise InputError(f"ids must be [batch, tokens] with at least one of each, found {tuple(ids.shape)}")
        if cache is not None and (len(cache) != len(self.blocks) or not self.causal):
            raise InputError(
                f"a cache of {len(self.blocks)} entries belongs to a causal model (new_cache), found {len(cache)}"
            )
        rows, first = ids.shape[1], cache[0].length if cache else 0
        if key_mask is None:
            return torch.arange(first, first + rows, device=ids.device)[None]
        wanted = (len(ids), first + rows)
        if tuple(key_mask.shape) != wanted or key_mask.dtype != torch.bool:
            raise InputError(
                f"key_mask must be bool {wanted} (batch, tokens held and new), "
                f"found {key_mask.dtype} {tuple(key_mask.shape)}"
            )
        if not torch.compiler.is_compiling() and not bool(key_mask.any(1).all()):
            raise InputError("each text needs at least one real token; key_mask has a row without any")
        return (key_mask.cumsum(1) - 1).clamp(min=0)[:, first:]

    def _check_generation(self, new: int, temperature: float, top_k: int | None, key_mask: Tensor | None) -> None:
        if not self.causal:
            raise InputError("only a model with head='causal_lm' generates; this one classifies")
        if self.training:
            raise InputError("the model is in training mode, where dropout disturbs what it writes; call eval() first")
        if new < 1 or temperature < 0 or (top_k is not None and top_k < 1):
            raise InputError(
                f"max_new_tokens and top_k must be ≥ 1, temperature ≥ 0; found {new}, {top_k} and {temperature}"
            )
        if key_mask is not None and not bool(key_mask[:, -1].all()):
            raise InputError(
                "prompts must be padded on the left, so that each ends with a real token; key_mask says not"
            )


def _block(config: ModelConfig) -> TransformerEncoderBlock:
    block = TransformerEncoderBlock(
        config.d_model,
        config.nhead,
        config.dim_feedforward,
        config.dropout,
        config.activation,
        config.layer_norm_eps,
        norm_first=config.norm_first,
        attention=config.attention,
    )
    block.gradient_checkpointing = config.gradient_checkpointing
    return block


def _choose(
    logits: Float[Tensor, "B vocab"], temperature: float, top_k: int | None, generator: torch.Generator | None
) -> Int[Tensor, " B"]:
    """The likeliest token, or one drawn."""
    if temperature == 0:
        return logits.argmax(-1)
    logits = logits.float() / temperature
    if top_k is not None and top_k < logits.shape[-1]:
        least = logits.topk(top_k, -1).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    return torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
