"""Attention as mathematics: metrics, masks, kernels and modules in plain torch. Knows neither models nor prompts."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heed.attention.analysis import Analysis as Analysis
    from heed.attention.analysis import LayerAnalysis as LayerAnalysis
    from heed.attention.analysis import analyze as analyze
    from heed.attention.distance.functional import Aux as Aux
    from heed.attention.distance.functional import distance_attention as distance_attention
    from heed.attention.distance.functional import explain as explain
    from heed.attention.metric import METRICS as METRICS
    from heed.attention.metric import Metric as Metric
    from heed.attention.metric import metric_of as metric_of
    from heed.attention.modules.blocks import TransformerDecoderBlock as TransformerDecoderBlock
    from heed.attention.modules.blocks import TransformerEncoderBlock as TransformerEncoderBlock
    from heed.attention.modules.cache import DecoderKeyValue as DecoderKeyValue
    from heed.attention.modules.cache import KeyValue as KeyValue
    from heed.attention.modules.config import AttentionConfig as AttentionConfig
    from heed.attention.modules.config import ModelConfig as ModelConfig
    from heed.attention.modules.embedding import TokenEmbedding as TokenEmbedding
    from heed.attention.modules.feedforward import FeedForward as FeedForward
    from heed.attention.modules.layer import DistanceAttention as DistanceAttention
    from heed.attention.modules.mechanism import Mechanism as Mechanism
    from heed.attention.modules.model import AttentionModel as AttentionModel
    from heed.attention.modules.multihead import MultiheadAttention as MultiheadAttention
    from heed.attention.modules.positions import LearnedPositions as LearnedPositions
    from heed.attention.modules.positions import RotaryPositions as RotaryPositions
    from heed.attention.modules.positions import SinusoidalPositions as SinusoidalPositions
    from heed.attention.modules.positions import alibi_slopes as alibi_slopes
    from heed.attention.modules.pretrained import Alignment as Alignment
    from heed.attention.modules.pretrained import WordVectors as WordVectors
    from heed.attention.modules.pretrained import align as align
    from heed.attention.modules.pretrained import map_matrix as map_matrix
    from heed.attention.modules.pretrained import read_vectors as read_vectors
    from heed.attention.modules.pretrained import read_words as read_words
    from heed.attention.modules.result_cache import CacheStats as CacheStats
    from heed.attention.modules.result_cache import ResultCache as ResultCache
    from heed.attention.modules.scaled_dot_product import ScaledDotProductAttention as ScaledDotProductAttention
    from heed.attention.performance import LayerPerformance as LayerPerformance
    from heed.attention.performance import Performance as Performance
    from heed.attention.performance import performance_stats as performance_stats
    from heed.attention.selftests import SelftestCheck as SelftestCheck
    from heed.attention.selftests import SelftestReport as SelftestReport
    from heed.attention.selftests import selftest as selftest
    from heed.attention.weight_log import LoggedWeights as LoggedWeights
    from heed.attention.weight_log import WeightLog as WeightLog
    from heed.attention.weight_log import log_weights as log_weights

_HOME = {
    "METRICS": "heed.attention.metric",
    "Alignment": "heed.attention.modules.pretrained",
    "Analysis": "heed.attention.analysis",
    "AttentionConfig": "heed.attention.modules.config",
    "AttentionModel": "heed.attention.modules.model",
    "Aux": "heed.attention.distance.functional",
    "CacheStats": "heed.attention.modules.result_cache",
    "DecoderKeyValue": "heed.attention.modules.cache",
    "DistanceAttention": "heed.attention.modules.layer",
    "FeedForward": "heed.attention.modules.feedforward",
    "KeyValue": "heed.attention.modules.cache",
    "LayerAnalysis": "heed.attention.analysis",
    "LayerPerformance": "heed.attention.performance",
    "LearnedPositions": "heed.attention.modules.positions",
    "LoggedWeights": "heed.attention.weight_log",
    "Mechanism": "heed.attention.modules.mechanism",
    "Metric": "heed.attention.metric",
    "ModelConfig": "heed.attention.modules.config",
    "MultiheadAttention": "heed.attention.modules.multihead",
    "Performance": "heed.attention.performance",
    "ResultCache": "heed.attention.modules.result_cache",
    "RotaryPositions": "heed.attention.modules.positions",
    "ScaledDotProductAttention": "heed.attention.modules.scaled_dot_product",
    "SelftestCheck": "heed.attention.selftests",
    "SelftestReport": "heed.attention.selftests",
    "SinusoidalPositions": "heed.attention.modules.positions",
    "TokenEmbedding": "heed.attention.modules.embedding",
    "TransformerDecoderBlock": "heed.attention.modules.blocks",
    "TransformerEncoderBlock": "heed.attention.modules.blocks",
    "WeightLog": "heed.attention.weight_log",
    "WordVectors": "heed.attention.modules.pretrained",
    "alibi_slopes": "heed.attention.modules.positions",
    "align": "heed.attention.modules.pretrained",
    "analyze": "heed.attention.analysis",
    "distance_attention": "heed.attention.distance.functional",
    "explain": "heed.attention.distance.functional",
    "log_weights": "heed.attention.weight_log",
    "map_matrix": "heed.attention.modules.pretrained",
    "metric_of": "heed.attention.metric",
    "performance_stats": "heed.attention.performance",
    "read_vectors": "heed.attention.modules.pretrained",
    "read_words": "heed.attention.modules.pretrained",
    "selftest": "heed.attention.selftests",
}

__all__ = [*_HOME]  # noqa: PLE0604 - the table is the list


def __getattr__(name: str) -> Any:
    """Fetch a public name from its module."""
    if name not in _HOME:
        raise AttributeError(f"module 'heed.attention' has no attribute {name!r}; it has {', '.join(_HOME)}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
