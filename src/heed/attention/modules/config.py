"""The options of an attention layer and of a small model, as frozen values that survive a trip through JSON.

A value checks itself when it is made, so that a module built from it need not.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from numbers import Integral, Real
from typing import Any, Literal, Self, get_args, get_type_hints

from heed.attention.distance.choose import Backend
from heed.attention.metric import Metric, metric_of
from heed.attention.nearest import nearest
from heed.errors import InputError

MAX_LAMBDA = 100.0
"""Largest temperature that may be learned, as in Swin v2 (arXiv 2111.09883, section 3.2)."""

MetricLike = str | Metric
Scale = Literal["sqrt_dim", "unit_variance"] | float
InitQK = Literal["tied", "independent"]
Positions = Literal["none", "rotary", "alibi"]
AbsolutePositions = Literal["none", "sinusoidal", "learned"]
Activation = Literal["gelu", "relu", "swiglu"]
Head = Literal["causal_lm", "classification"]
Pooling = Literal["mean", "first", "last"]

_BACKENDS = tuple(word for part in get_args(Backend) for word in get_args(part) or (part,))


class Config:
    """What all configurations share: a plain mapping there and back."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold. Raises InputError for a metric of one's own, which it cannot."""
        values: dict[str, Any] = asdict(self)  # type: ignore[call-overload]
        for attention in (self, getattr(self, "attention", None)):
            own = [m for m in _sequence(getattr(attention, "metric", ())) if not isinstance(m, str)]
            if own:
                raise InputError(
                    f"a configuration can only be written with metrics given by name; {own[0].name!r} is a "
                    "Metric of one's own: keep the configuration in code, or use a named metric"
                )
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The configuration a mapping describes; lists become tuples. Unknown keys raise InputError."""
        options = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
        hints = get_type_hints(cls)
        made: dict[str, Any] = {}
        for key, value in values.items():
            if key not in options:
                raise InputError(f"{cls.__name__} has no option {key!r}{nearest(key, list(options))}")
            if is_dataclass(hints[key]) and isinstance(value, Mapping):
                made[key] = hints[key].from_dict(value)
            else:
                made[key] = tuple(value) if isinstance(value, list) else value
        missing = [n for n, f in options.items() if n not in made and f.default is f.default_factory is MISSING]
        if missing:
            raise InputError(f"{cls.__name__} needs {', '.join(missing)}; found {', '.join(made) or 'nothing'}")
        return cls(**made)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionConfig(Config):
    """How an attention layer scores, and what it learns.

    ``metric`` is one name (or `Metric`) for all heads, or one for each head, kept as a tuple. ``p`` belongs to
    ``"lp"`` and ``beta`` to ``"smooth_chebyshev"``. ``lambda_param`` is λ > 0 of ``softmax(-λ · c · dist)``, one
    number or one for each head; learned as ``exp(log_lambda)`` it cannot exceed 100. ``scale`` is c: ``"sqrt_dim"``
    for 1/√d, ``"unit_variance"`` for logits of unit variance at N(0, 1) queries and keys, or a number. ``window`` is
    the number of keys a row sees back from its own position. ``init_qk="tied"`` starts the key projection as a copy
    of the query projection, free from then on. ``num_key_value_heads`` divides the number of heads.
    """

    metric: MetricLike | Sequence[MetricLike] = "l1"
    p: float | None = None
    beta: float | None = None
    lambda_param: float | Sequence[float] = 1.0
    learnable_lambda: bool = False
    learnable_p: bool = False
    scale: Scale = "unit_variance"
    window: int | None = None
    dropout: float = 0.0
    positions: Positions = "none"
    rope_theta: float = 10000.0
    num_key_value_heads: int | None = None
    init_qk: InitQK = "tied"
    bias: bool = True
    backend: Backend = "auto"

    def __post_init__(self) -> None:
        for name in ("metric", "lambda_param"):
            if isinstance(value := getattr(self, name), Sequence) and not isinstance(value, str):
                object.__setattr__(self, name, tuple(value))
        plain_numbers(self)
        for metric in _sequence(self.metric):
            metric_of(metric)
        check_metric_options(self)
        for value in _sequence(self.lambda_param):
            check_lambda(value, learnable=self.learnable_lambda)
        if isinstance(self.scale, str):
            one_of("scale", self.scale, ("sqrt_dim", "unit_variance"))
        else:
            positive("scale", self.scale)
        for name in ("window", "num_key_value_heads"):
            if getattr(self, name) is not None:
                positive_int(name, getattr(self, name))
        probability("dropout", self.dropout)
        one_of("positions", self.positions, get_args(Positions))
        one_of("init_qk", self.init_qk, get_args(InitQK))
        one_of("backend", self.backend, _BACKENDS)
        positive("rope_theta", self.rope_theta)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig(Config):
    """A complete small text model: embeddings, positions, blocks, head (see `AttentionModel`).

    ``positions`` are added to the embeddings (``max_positions`` bounds learned ones); positions inside attention
    are ``attention.positions``. ``pooling`` and ``num_classes`` belong to ``head="classification"``. Names are
    those of nn.Transformer where it has them.
    """

    vocab_size: int
    d_model: int = 128
    nhead: int = 4
    num_layers: int = 2
    dim_feedforward: int = 512
    activation: Activation = "gelu"
    dropout: float = 0.0
    norm_first: bool = True
    layer_norm_eps: float = 1e-5
    positions: AbsolutePositions = "sinusoidal"
    max_positions: int = 1024
    head: Head = "causal_lm"
    num_classes: int = 2
    pooling: Pooling = "mean"
    tie_embeddings: bool = True
    pad_id: int = 0
    gradient_checkpointing: bool = False
    attention: AttentionConfig = field(default_factory=AttentionConfig)

    def __post_init__(self) -> None:
        plain_numbers(self)
        if not isinstance(self.attention, AttentionConfig):
            raise InputError(f"attention must be an AttentionConfig, found {type(self.attention).__name__}")
        for name in ("vocab_size", "d_model", "nhead", "num_layers", "dim_feedforward", "max_positions", "num_classes"):
            positive_int(name, getattr(self, name))
        heads_divide(self.d_model, self.nhead, self.attention.num_key_value_heads)
        probability("dropout", self.dropout)
        positive("layer_norm_eps", self.layer_norm_eps)
        one_of("activation", self.activation, get_args(Activation))
        one_of("positions", self.positions, get_args(AbsolutePositions))
        one_of("head", self.head, get_args(Head))
        one_of("pooling", self.pooling, get_args(Pooling))
        if not 0 <= self.pad_id < self.vocab_size:
            raise InputError(f"pad_id must lie in [0, vocab_size), found {self.pad_id} with {self.vocab_size} tokens")


def check_metric_options(config: AttentionConfig) -> None:
    """``p`` where and only where a metric takes it, and the same for ``beta``."""
    metrics = [metric_of(metric) for metric in _sequence(config.metric)]
    if not metrics:
        raise InputError("metric must name at least one metric, found an empty sequence")
    smooth = any(metric.name == "smooth_chebyshev" for metric in metrics)
    takes_p = any(metric.needs_p for metric in metrics if metric.name != "smooth_chebyshev")
    for name, value, taken in (("p", config.p, takes_p), ("beta", config.beta, smooth)):
        if taken and value is None:
            raise InputError(f"the metric {config.metric!r} needs {name} > 0; give {name}=…")
        if not taken and value is not None:
            raise InputError(f"the metric {config.metric!r} takes no {name}, found {name}={value}; leave it out")
        if value is not None:
            positive(name, value)
    if config.learnable_p and not takes_p:
        raise InputError(f"learnable_p needs a metric with a p, such as 'lp'; found {config.metric!r}")


def check_lambda(value: float, *, learnable: bool, name: str = "lambda_param") -> None:
    """λ > 0 and finite; at most 100 where it is learned."""
    positive(name, value)
    if learnable and value > MAX_LAMBDA:
        raise InputError(
            f"{name}: a learned λ is at most {MAX_LAMBDA:g}, found {value}; use scale=… for larger factors"
        )


def positive(name: str, value: float) -> None:
    """A finite number above zero."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InputError(f"{name} must be a finite number > 0, found {value!r}")


def positive_int(name: str, value: int) -> None:
    """A whole number above zero."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name} must be a whole number ≥ 1, found {value!r}")


def probability(name: str, value: float) -> None:
    """A share in [0, 1)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise InputError(f"{name} must lie in [0, 1), found {value!r}")


def one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """One of a few words."""
    if value not in allowed:
        raise InputError(f"{name} must be one of {', '.join(allowed)}; found {value!r}{nearest(str(value), allowed)}")


def heads_divide(width: int, heads: int, key_value_heads: int | None = None) -> int:
    """The width of a head; raises InputError where heads do not divide the width, or groups the heads."""
    positive_int("hidden size", width)
    positive_int("number of heads", heads)
    if width % heads:
        raise InputError(f"the number of heads must divide the hidden size: {heads} does not divide {width}")
    if key_value_heads is not None and heads % key_value_heads:
        raise InputError(
            f"the number of key-value heads must divide the number of heads: {key_value_heads} does not divide {heads}"
        )
    return width // heads


def plain_numbers(config: Config) -> None:
    """Turn numbers of other libraries, such as NumPy's, into Python's, which JSON can hold."""
    for option in fields(config):  # type: ignore[arg-type]
        value = getattr(config, option.name)
        plain = tuple(map(_plain, value)) if isinstance(value, tuple) else _plain(value)
        object.__setattr__(config, option.name, plain)


def _plain(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, Real):
        return value
    return int(value) if isinstance(value, Integral) else float(value)


def _sequence(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)
