"""Cases: what there is to segment in files, folders and lists of any mixture of formats.

Files are judged by content. A file whose name claims an image (``.nii``, ``.nii.gz``, ``.nrrd``,
``.mha``, ``.mhd``, ``.dcm``), or that the user names itself, and that is none, is a case with a
problem; any other file that is no image is passed over and counted. Hidden files, DICOMDIR, pipes
and devices are passed over, zip archives are looked into. Below a folder that holds a
``manifest.jsonl`` of ours, the folders of its cases are left out, so that results written into the
input tree never become inputs.

A ``.csv`` or ``.json`` file that the user names is a list of cases. Where the bundle takes several
channels, a case is a NIfTI file with a volume for each, files that end in ``_0000``, ``_0001`` and
so on, a row of a list, or the series of a study that rules name.

Identifiers are safe as file names and do not depend on the order of the inputs: the slug of a
file's own name, with a hash of its path where other cases share it; modality, series number and a
hash of the UID for DICOM, which hold nothing of the patient; what a list says.
"""

from unetr_app.cases.case import Case, Found
from unetr_app.cases.rules import Rules, make_rule, read_rules
from unetr_app.cases.search import find_cases, survey

__all__ = ["Case", "Found", "Rules", "find_cases", "make_rule", "read_rules", "survey"]
