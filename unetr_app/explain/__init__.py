"""Looking into an encoder: receptive fields, attention, t-SNE of its features.

Anything that keeps the encoders' contract (``channels``, ``strides``, a list of maps, finest first)
can be looked into, trained or not; nothing is asked of it beyond that.
"""

from __future__ import annotations

from unetr_app.explain.attention import AttentionCall, capture_attention
from unetr_app.explain.attention_map import AttentionMap, prefix_attention, voxel_attention
from unetr_app.explain.embedding import embed, has_embedding
from unetr_app.explain.explainer import Explainer, build_seeded
from unetr_app.explain.features import Features, case_features
from unetr_app.explain.files import in_words
from unetr_app.explain.receptive_field import FieldMean, ReceptiveField, receptive_fields
from unetr_app.explain.request import Request
from unetr_app.explain.rollout import rollout
from unetr_app.explain.runner import Explained, explain

__all__ = [
    "AttentionCall",
    "AttentionMap",
    "Explained",
    "Explainer",
    "Features",
    "FieldMean",
    "ReceptiveField",
    "Request",
    "build_seeded",
    "capture_attention",
    "case_features",
    "embed",
    "explain",
    "has_embedding",
    "in_words",
    "prefix_attention",
    "receptive_fields",
    "rollout",
    "voxel_attention",
]
