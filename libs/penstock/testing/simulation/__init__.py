"""Simulation (protocol §11): the real steps of the services and real runners, in one thread and virtual time.

Postgres is real (its clock is a row of a table), the bus is the one in memory. A seed decides what happens
next: who acts, who dies where, which calls fail before or after their commit, which hints are lost or
repeated. After it the world heals, and then everything must be as the protocol promises.

`python -m penstock.testing.simulation SEED` replays a seed and tells its story.
"""
