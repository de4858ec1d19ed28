"""SeriesFacts: what rules ask of a DICOM series; told while cases are searched, then forgotten."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class SeriesFacts:
    """What the headers of a series say of it. Some of it may be about the patient: never shown.

    Args:
        description: Series Description.
        frame_uid: Frame of Reference UID.
        image_type: Values of Image Type.
        patient: Patient's id and name, to keep two patients apart.
    """

    description: str = field(default="", repr=False)
    frame_uid: str = field(default="", repr=False)
    image_type: tuple[str, ...] = ()
    patient: tuple[str, str] = field(default=("", ""), repr=False)
