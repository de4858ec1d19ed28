"""Background: work beside the window's own thread, which alone touches layers and widgets.

A `Pool` runs many short pieces of work, and hands each result to a function. A `Task` is one long
piece, which tells how far it is and can be asked to stop; a `Watch` brings what it tells into the
window's thread. Qt is needed by `Pool` and `Watch` alone.
"""
