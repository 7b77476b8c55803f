"""Every SQL statement of Penstock. Each transition is one versioned function, one file, one transaction.

Modules are grouped by what they are about, not by service, so that the writers of a table are found side by
side. All calls are unprepared and keep no session state: a transaction pooler may stand between (design §4).
"""
