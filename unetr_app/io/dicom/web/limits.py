"""Limits: how much and how long a server may send before it is given up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of one run against one server; each is far above what a sound server needs.

    Args:
        connect_seconds: For a connection to be made.
        read_seconds: Between two pieces of an answer.
        answer_seconds: From a request to the end of the answer's headers, its upload apart.
        body_seconds: For the whole of an answer.
        least_rate: Bytes a second that a body, or an upload, must keep up on average.
        answer_bytes: Of an answer to a search or a storage request.
        instance_bytes: Of one instance.
        run_bytes: Of all instances of one run.
        series: Of a study.
        instances: Of one run.
        page: Rows asked for at a time.
    """

    connect_seconds: float = 10.0
    read_seconds: float = 60.0
    answer_seconds: float = 180.0
    body_seconds: float = 3600.0
    least_rate: float = 1024.0
    answer_bytes: int = 2**25
    instance_bytes: int = 2**32
    run_bytes: int = 2**36
    series: int = 2000
    instances: int = 50_000
    page: int = 500
