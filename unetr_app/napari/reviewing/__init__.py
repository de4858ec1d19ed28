"""The review window: a control for each page, all on one bench."""
