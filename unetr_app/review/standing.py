"""Standing: whether what was decided about is still what there is."""

from __future__ import annotations

from unetr_app.errors import InvalidRequest
from unetr_app.review.decision import Decision
from unetr_app.review.loaded import LoadedCase


def lost_since(loaded: LoadedCase, decision: Decision) -> str:
    """What was accepted or rejected and is not there any more; empty where all of it is.

    An image that is gone is no other image: the labels are still those that were judged.

    Args:
        loaded: The case as it is now.
        decision: What was decided of it.
    """
    if decision.status not in ("accepted", "rejected"):
        return ""
    number = 0 if loaded.version is None else loaded.version.number
    if decision.version != number:
        return f"version {decision.version} cannot be used any more"
    if "" not in (decision.source_hash, loaded.source_hash) and (
        decision.source_hash != loaded.source_hash
    ):
        return "the image was replaced"
    if not number and decision.prediction_hash not in ("", loaded.prediction_hash):
        return "the prediction was replaced"
    return ""


def require_standing(loaded: LoadedCase, decision: Decision) -> None:
    """Refuse labels, or an image, that are not those that the decision was about.

    Raises:
        InvalidRequest: If something of it is not there any more.
    """
    if what := lost_since(loaded, decision):
        raise InvalidRequest(
            f"{loaded.case_id} was {decision.status}, and {what} since", cure="Review it again."
        )
