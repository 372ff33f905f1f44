"""The one resumable engine: ordered JSONL in, fsynced JSONL out. It does not know what a job does."""

from heed.jobs.lines import BadLine, Item, Record
from heed.jobs.run import JobReport, Progress, run_job

__all__ = ["BadLine", "Item", "JobReport", "Progress", "Record", "run_job"]
