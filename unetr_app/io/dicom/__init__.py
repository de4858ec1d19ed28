"""DICOM: series to volumes, and what is written beside them; the only door to pydicom."""
