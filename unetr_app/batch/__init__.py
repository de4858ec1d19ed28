"""Batches: a segmenter over many cases, robust against bad ones, crashes and full disks."""
