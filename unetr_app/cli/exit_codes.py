"""Exit codes of the ``unetr`` command; after signal n it is 128 + n."""

ALL_DONE = 0
INTERNAL = 1  # an error of the program itself
USAGE = 2
SOME_FAILED = 3
NONE_DONE = 4
INTERRUPTED = 130
