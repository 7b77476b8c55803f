"""`python -m bench B1 [B2 …] [--stack FOLDER]`: one JSON line a workload on standard output."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from bench.door import Door, ShortCutError, noop, warm_up
from bench.field import field
from bench.stack import machine, show, under_test
from bench.workloads import OWN, WORKLOADS
from penstock.core.errors import PenstockError
from penstock.runtime import log


def main() -> int:
    """Exit 1 when a workload took a short cut, or the stack is not durable."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    known = [*WORKLOADS, *OWN]
    parser.add_argument("workload", nargs="+", choices=known, metavar="WORKLOAD", help=", ".join(known))
    parser.add_argument("--stack", type=Path, help="folder of a running stack; default: a fresh one")
    parser.add_argument("--slots", type=int, default=8, help="slots of the one runner (default 8)")
    parser.add_argument(
        "--small", action="store_true", help="a try at a small size, of those that have their own stack"
    )
    options = parser.parse_args()
    log.configure("console", "error", "bench", "")  # on stderr: what is killed is missed
    try:
        shared = [name for name in options.workload if name in WORKLOADS]
        if shared:
            _on_one_stack(shared, options.stack, options.slots)
        for name in options.workload:
            if name in OWN:
                _on_its_own(name, small=options.small)
    except (PenstockError, ShortCutError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def _on_one_stack(names: list[str], folder: Path | None, slots: int) -> None:
    began = time.time()
    with under_test(folder, [f"--slots={slots}"]) as subject:
        durability = subject.durability()
        door = Door(subject)
        cold = door.submit([noop({"first": []})])
        door.wait(cold)
        cold_start = door.finished_at(cold) - began
        warm_up(door)
        for name in names:
            figures = WORKLOADS[name](subject, door)
            cold_facts = {"cold_start_s": round(cold_start, 2), "durability": durability}
            show({"id": name, **figures, **cold_facts, **machine()})


def _on_its_own(name: str, *, small: bool) -> None:
    workload = OWN[name]
    quick = small and workload.quick_when_small
    given = (small and workload.environ_small) or workload.environ
    with field(workload.replicas, given, quick=quick) as own:
        durability = own.subject.durability()
        if workload.replicas.get("runner") != 0:
            warm_up(own.door)
        figures = workload.run(own, small=small)
    show({"id": name, **figures, "small": small, "durability": durability, **machine()})


if __name__ == "__main__":
    sys.exit(main())
