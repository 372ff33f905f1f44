"""The one place that touches transformers' attention and mask interfaces."""

from heed.interface.distance import DistanceConfig as DistanceConfig
from heed.interface.install import install as install
from heed.interface.install import load_distance as load_distance
from heed.interface.install import uninstall as uninstall
from heed.interface.mechanism import register_attention as register_attention
from heed.interface.swap import SwapReport as SwapReport
from heed.interface.swap import compare_perplexity as compare_perplexity
