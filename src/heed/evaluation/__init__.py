"""Measured comparisons: labelled texts and a guard come in, reports with intervals, pictures and exports go out.

It asks guards for verdicts and methods of citation for rankings, and does not know how they come to them.
"""

from heed.evaluation.citation import evaluate_citation as evaluate_citation
from heed.evaluation.cited import CitationEvaluation as CitationEvaluation
from heed.evaluation.cited import Controls as Controls
from heed.evaluation.comparison import Comparison as Comparison
from heed.evaluation.comparison import compare as compare
from heed.evaluation.guard import Evaluation as Evaluation
from heed.evaluation.guard import evaluate as evaluate
from heed.evaluation.guard import report as report
from heed.evaluation.judged import Judge as Judge
from heed.evaluation.judged import Judged as Judged
from heed.evaluation.judged import judge as judge
from heed.evaluation.left_out import leave_one_out as leave_one_out
from heed.evaluation.records import export as export
from heed.evaluation.records import read_records as read_records
from heed.evaluation.records import statistics as statistics
from heed.evaluation.write import write_report as write_report
from heed.evaluation.write_citation import write_citation_report as write_citation_report
