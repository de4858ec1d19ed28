"""Moment: what tells volumes at one place apart: when, and how, a slice was acquired.

Diffusion values that vendors keep in elements of their own are read there too.
"""

from __future__ import annotations

from typing import NamedTuple

from unetr_app.io.dicom.header import Header

MOMENT_TAGS: tuple[str | int, ...] = (
    "TemporalPositionIndex", "EchoTime", "FlipAngle", "InversionTime", "KVP",
    "DiffusionBValue", "DiffusionGradientOrientation", "TriggerTime",
    "NominalCardiacTriggerDelayTime", "NominalPercentageOfCardiacPhase", "FrameReferenceTime",
    "AcquisitionDateTime", "AcquisitionDate", "AcquisitionTime", "ContentTime",
    0x00190010, 0x0019100C, 0x0019100E,  # Siemens: b-value, direction
    0x00430010, 0x00431039,  # GE: b-value
    0x20010010, 0x20011003,  # Philips: b-value
)  # fmt: skip
"""Elements that `moment_of` looks at: keywords and numbers of private ones."""

MOMENT_NUMBERS = {
    "TemporalPositionIndex": "UL", "DiffusionBValue": "FD", "DiffusionGradientOrientation": "FD",
    "NominalCardiacTriggerDelayTime": "FD", "NominalPercentageOfCardiacPhase": "FD",
}  # fmt: skip

_GE_OFFSET = 1e9  # added to the b-value of some GE scanners


class Moment(NamedTuple):
    """What a slice says of its acquisition, as text; empty where it says nothing.

    Args:
        temporal: Temporal Position Index.
        echo_time: Echo Time, in ms.
        inversion: Inversion Time, in ms.
        flip: Flip Angle, in degrees.
        voltage: Peak kilovoltage.
        b_value: Diffusion b-value, in s/mm2.
        direction: Direction of the diffusion gradient.
        trigger: Time after the heart's trigger, or share of the heart's phase.
        frame_time: Frame Reference Time (PET), in ms.
        time: Date and time of the acquisition, else time of the content.
    """

    temporal: str = ""
    echo_time: str = ""
    inversion: str = ""
    flip: str = ""
    voltage: str = ""
    b_value: str = ""
    direction: str = ""
    trigger: str = ""
    frame_time: str = ""
    time: str = ""


NO_MOMENT = Moment()


def moment_of(header: Header) -> Moment:
    """What the headers of a slice say of its acquisition."""
    text = header.text
    acquired = text("AcquisitionTime")
    return Moment(
        temporal=text("TemporalPositionIndex"),
        echo_time=text("EchoTime"),
        inversion=text("InversionTime"),
        flip=text("FlipAngle"),
        voltage=text("KVP"),
        b_value=_b_value(header),
        direction=text("DiffusionGradientOrientation") or _siemens(header, 0x0019100E),
        trigger=text("TriggerTime") or text("NominalCardiacTriggerDelayTime")
        or text("NominalPercentageOfCardiacPhase"),
        frame_time=text("FrameReferenceTime"),
        time=text("AcquisitionDateTime")
        or (text("AcquisitionDate") + acquired if acquired else text("ContentTime")),
    )  # fmt: skip


def _b_value(header: Header) -> str:
    stated = header.text("DiffusionBValue") or _siemens(header, 0x0019100C)
    if stated:
        return stated
    if header.text(0x20010010).upper().startswith("PHILIPS IMAGING"):
        return header.text(0x20011003)
    if not header.text(0x00430010).upper().startswith("GEMS_PARM"):
        return ""
    first = header.text(0x00431039).split("\\")[0]
    try:
        return f"{float(first) % _GE_OFFSET:g}"
    except ValueError:
        return ""


def _siemens(header: Header, tag: int) -> str:
    return header.text(tag) if header.text(0x00190010).upper() == "SIEMENS MR HEADER" else ""
