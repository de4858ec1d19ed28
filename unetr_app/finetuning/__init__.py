"""Fine-tuning: a bundle's weights trained on for a short while on somebody's own cases.

`finetune` makes a new bundle of an old one, which it never changes, and says how well both do on
cases that were held out. Networks run in child processes: nothing here imports torch or MONAI.
"""

from unetr_app.finetuning.options import FinetuneOptions, FinetuneProgress
from unetr_app.finetuning.result import Finetuned, LabelScore
from unetr_app.finetuning.runner import finetune

__all__ = ["FinetuneOptions", "FinetuneProgress", "Finetuned", "LabelScore", "finetune"]
