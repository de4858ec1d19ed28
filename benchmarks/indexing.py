"""Seconds to find the series among many DICOM files.

python benchmarks/indexing.py --slices 10000 --series 40
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from unetr_app.cases import survey
from unetr_app.version import __version__


def template(rows: int) -> Dataset:
    """A CT slice with as many header elements as scanners write, pixels included."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.SOPClassUID = CTImageStorage
    dataset.Modality = "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientID, dataset.PatientName = "P1", "Phantom^One"
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [0.7, 0.7]
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.Rows = dataset.Columns = rows
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.PixelData = np.arange(rows * rows, dtype="<u2").tobytes()
    for n in range(60):  # elements of the kind that nobody here asks for
        dataset.add_new(0x00091010 + n, "LO", f"value {n} of a private element")
    dataset.add_new(0x00090010, "LO", "BENCHMARK")
    return dataset


def make(root: Path, slices: int, series: int, rows: int) -> None:
    """Write the files, without endings, in nested folders."""
    dataset = template(rows)
    for s in range(series):
        folder = root / f"study{s % 5}" / f"series{s}"
        folder.mkdir(parents=True)
        dataset.SeriesInstanceUID, dataset.SeriesNumber = generate_uid(), s
        dataset.StudyInstanceUID = dataset.FrameOfReferenceUID = generate_uid()
        for n in range(slices // series):
            dataset.SOPInstanceUID = generate_uid()
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            dataset.InstanceNumber = n + 1
            dataset.ImagePositionPatient = [-90, -90, 1.25 * n]
            pydicom.dcmwrite(folder / f"IM{n:05d}", dataset, enforce_file_format=True)


def main() -> None:
    """Make the files, survey them, print a row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=10_000)
    parser.add_argument("--series", type=int, default=40)
    parser.add_argument("--rows", type=int, default=64, help="pixels along each side of a slice")
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), asked.slices, asked.series, asked.rows)
        seconds: list[float] = []
        busy = 0.0
        found = 0
        for _ in range(asked.repeats):
            begun, busy = time.perf_counter(), time.process_time()
            found = len(survey(folder).cases)
            seconds.append(time.perf_counter() - begun)
            busy = time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 10)
    print(f"unetr-app {__version__}, Python {sys.version.split()[0]}")
    print("| slices | series found | first s | best s | of one core s | slices/s | peak MiB |")
    print("|---|---|---|---|---|---|---|")
    print(
        f"| {asked.slices} | {found} | {seconds[0]:.1f} | {min(seconds):.1f} | {busy:.1f} "
        f"| {asked.slices / min(seconds):.0f} | {peak:.0f} |"
    )


if __name__ == "__main__":
    main()
