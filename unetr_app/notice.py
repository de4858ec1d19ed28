"""The notice that every picture, report and window shows."""

RESEARCH_NOTICE = "Research use only. Not for diagnosis."
