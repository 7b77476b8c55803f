"""The store's transitions as pure functions on immutable rows: the twin of `penstock/store/functions`.

The model checker (tests/model) explores it; tests/integration/store/test_model_agrees.py holds it against
Postgres by random sequences.
"""
