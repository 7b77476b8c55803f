"""Faults against the whole stack: an arena of real processes, a workload, a nemesis, and the verdict.

| module | what is in it |
| --- | --- |
| `stack` | the local stack as a process of its own, its components held down on demand |
| `arena` | that stack with proxies and hooks, and hands to kill, freeze, hold and wipe with |
| `workload` | clients that ask for random pipelines, and write down what they asked and heard |
| `nemesis` | the faults, by seed; each proves that it bit |
| `run` | a workload under a nemesis, healed, at rest, and judged |
"""
