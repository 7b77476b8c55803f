"""`python -m bench B1 [B2 …] [--stack FOLDER]`: one JSON line a workload on standard output."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from bench.door import Door, ShortCutError, noop
from bench.stack import machine, show, under_test
from bench.workloads import WORKLOADS
from penstock.core.errors import PenstockError

# A broker that has just started compiles its code while it works; peers were measured warm as well.
BURST = noop({f"warm-{n}": [] for n in range(500)})
CHAIN = noop({f"warm-{n:03d}": [f"warm-{n - 1:03d}"] if n else [] for n in range(100)})
WARM_UPS = [BURST] * 6 + [CHAIN] * 5


def main() -> int:
    """Exit 1 when a workload took a short cut, or the stack is not durable."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("workload", nargs="+", choices=sorted(WORKLOADS), metavar="WORKLOAD")
    parser.add_argument("--stack", type=Path, help="folder of a running stack; default: a fresh one")
    parser.add_argument("--slots", type=int, default=8, help="slots of the one runner (default 8)")
    options = parser.parse_args()
    began = time.time()
    try:
        with under_test(options.stack, [f"--slots={options.slots}"]) as subject:
            durability = subject.durability()
            door = Door(subject)
            cold = door.submit([noop({"first": []})])
            door.wait(cold)
            cold_start = door.finished_at(cold) - began
            for definition in WARM_UPS:
                door.wait(door.submit([definition]))
            for name in options.workload:
                figures = WORKLOADS[name](subject, door)
                show(
                    {
                        "id": name,
                        **figures,
                        "cold_start_s": round(cold_start, 2),
                        "durability": durability,
                        **machine(),
                    }
                )
    except (PenstockError, ShortCutError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
