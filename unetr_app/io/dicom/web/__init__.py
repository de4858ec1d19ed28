"""DICOMweb: series of a study from a PACS into a folder, results from a folder into the PACS.

A server is believed nothing: sizes, times and numbers are limited, redirects are not followed,
identifiers are checked, and a file counts only when it is whole and the one that was asked for.
"""

from unetr_app.io.dicom.web.address import Address, is_address
from unetr_app.io.dicom.web.client import Pacs
from unetr_app.io.dicom.web.retrieval import Retrieval, choose_series, retrieve
from unetr_app.io.dicom.web.rows import RemoteSeries
from unetr_app.io.dicom.web.storage import Stored, store

__all__ = [
    "Address", "Pacs", "RemoteSeries", "Retrieval", "Stored", "choose_series", "is_address",
    "retrieve", "store",
]  # fmt: skip
