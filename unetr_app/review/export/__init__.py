"""Export: what leaves a review, as files for others."""

from unetr_app.review.export.job import KINDS, Exported, export_job, unavailable
from unetr_app.review.export.nifti import export_nifti
from unetr_app.review.export.report import export_report
from unetr_app.review.export.reviewed import Reviewed
from unetr_app.review.export.seg import export_seg
from unetr_app.review.export.training_set import export_training_set

__all__ = [
    "KINDS",
    "Exported",
    "Reviewed",
    "export_job",
    "export_nifti",
    "export_report",
    "export_seg",
    "export_training_set",
    "unavailable",
]
