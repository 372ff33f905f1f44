"""Evaluation runs: a task and someone who answers come in, graded samples with the attention beside them go out.

They can be broken off at any moment and continued. It asks `heed.cite` what an answer rests on and does not know how.
"""

from heed.evaluation.runs.compare import RunComparison as RunComparison
from heed.evaluation.runs.compare import compare_runs as compare_runs
from heed.evaluation.runs.example import Example as Example
from heed.evaluation.runs.place import runs_under as runs_under
from heed.evaluation.runs.reader import Reader as Reader
from heed.evaluation.runs.report import write_page as write_page
from heed.evaluation.runs.run import RunReport as RunReport
from heed.evaluation.runs.run import start as start
from heed.evaluation.runs.runner import Asking as Asking
from heed.evaluation.runs.samples import Run as Run
from heed.evaluation.runs.samples import read_run as read_run
from heed.evaluation.runs.summary import Summary as Summary
from heed.evaluation.runs.task import Task as Task
from heed.evaluation.runs.task import load_task as load_task
from heed.evaluation.runs.task import task_names as task_names
