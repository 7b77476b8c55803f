"""What happened to a Penstock that was tormented, as one value, and the verdict on it.

A run leaves a folder (`folder`); `load(folder)` makes a `History` of it, `verdict(history)` says for every
invariant whether it held, with the shortest story of what did not.
"""

from penstock.testing.history.folder import Folder, load
from penstock.testing.history.journals import ClientJournal, NemesisJournal, PeekJournal
from penstock.testing.history.past import History
from penstock.testing.history.verdict import Verdict, verdict

__all__ = [
    "ClientJournal",
    "Folder",
    "History",
    "NemesisJournal",
    "PeekJournal",
    "Verdict",
    "load",
    "verdict",
]
