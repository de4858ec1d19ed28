"""Pages: what the review window shows and what is asked of it. They show and emit, no more."""
