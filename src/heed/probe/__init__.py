"""One forward pass, listened to: probes inside it, a trace to ask afterwards, and the proof that both are exact."""

from heed.probe.check import CheckReport as CheckReport
from heed.probe.check import check as check
from heed.probe.prefix import PrefixCache as PrefixCache
from heed.probe.probes import AllRowsMass as AllRowsMass
from heed.probe.probes import LastRow as LastRow
from heed.probe.probes import LastRowMass as LastRowMass
from heed.probe.probes import Moment as Moment
from heed.probe.probes import PooledMass as PooledMass
from heed.probe.probes import Probe as Probe
from heed.probe.probes import PromptRow as PromptRow
from heed.probe.probes import Received as Received
from heed.probe.probes import RowEntropy as RowEntropy
from heed.probe.probes import TailRows as TailRows
from heed.probe.prompt import encode_prompt as encode_prompt
from heed.probe.run import Reading as Reading
from heed.probe.run import read as read
from heed.probe.trace import Trace as Trace
from heed.probe.trace import trace as trace
from heed.probe.view import LayerKey as LayerKey
from heed.probe.view import LayerView as LayerView
