"""DICOMweb: series of a study from a PACS into a folder, results from a folder into the PACS.

A server is believed nothing: sizes, times and numbers are limited, redirects are not followed,
identifiers are checked, and a file counts only when it is whole and the one that was asked for.
"""
