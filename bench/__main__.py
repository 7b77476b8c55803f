"""`python -m bench B1 [B2 …] [--stack FOLDER] [--flame DIR]`: one JSON line a workload on standard output."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from bench.door import Door, ShortCutError, noop, warm_up
from bench.field import field
from bench.flame import flames, sampler
from bench.stack import machine, show, under_test
from bench.workloads import OWN, PURE, SEVERAL, WORKLOADS
from penstock.core.errors import PenstockError, StopProcess
from penstock.runtime import log


def main() -> int:
    """Exit 1 when a workload took a short cut, or the stack is not durable."""
    options = _options()
    log.configure("console", "error", "bench", "")  # on stderr: what is killed is missed
    try:
        _may_be_watched(options.workload, options.flame)
        shared = [name for name in options.workload if name in WORKLOADS]
        if shared:
            _on_one_stack(shared, options)
        for name in options.workload:
            if name in OWN:
                _on_its_own(name, options)
            elif name in (alone := {**SEVERAL, **PURE}):
                show({"id": name, **alone[name](small=options.small), "small": options.small, **machine()})
    except (PenstockError, ShortCutError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    known = [*WORKLOADS, *OWN, *SEVERAL, *PURE]
    parser.add_argument("workload", nargs="+", choices=known, metavar="WORKLOAD", help=", ".join(known))
    parser.add_argument("--stack", type=Path, help="folder of a running stack; default: a fresh one")
    parser.add_argument("--slots", type=int, default=8, help="slots of the one runner (default 8)")
    parser.add_argument(
        "--small", action="store_true", help="a try at a small size, of all but those that share a stack"
    )
    parser.add_argument(
        "--flame", type=Path, metavar="DIR", help="a flame picture of each service there (needs py-spy)"
    )
    return parser.parse_args()


def _may_be_watched(names: list[str], flame: Path | None) -> None:
    """Raises StopProcess when there will be no flame pictures, before anything is started."""
    if flame is None:
        return
    sampler()
    alone = [name for name in names if name in SEVERAL or name in PURE]
    if alone:
        raise StopProcess(f"--flame is for workloads of one stack, not for {', '.join(alone)}")


def _on_one_stack(names: list[str], options: argparse.Namespace) -> None:
    began = time.time()
    with under_test(options.stack, [f"--slots={options.slots}"]) as subject:
        durability = subject.durability()
        door = Door(subject)
        cold = door.submit([noop({"first": []})])
        door.wait(cold)
        cold_start = door.finished_at(cold) - began
        warm_up(door)
        for name in names:
            with flames(subject, options.flame, name):
                figures = WORKLOADS[name](subject, door)
            cold_facts = {"cold_start_s": round(cold_start, 2), "durability": durability}
            show({"id": name, **figures, **cold_facts, **machine()})


def _on_its_own(name: str, options: argparse.Namespace) -> None:
    workload = OWN[name]
    small: bool = options.small
    quick = small and workload.quick_when_small
    given = (small and workload.environ_small) or workload.environ
    with field(workload.replicas, given, quick=quick) as own:
        durability = own.subject.durability()
        if workload.replicas.get("runner") != 0:
            warm_up(own.door)
        with flames(own.subject, options.flame, name):
            figures = workload.run(own, small=small)
    show({"id": name, **figures, "small": small, "durability": durability, **machine()})


if __name__ == "__main__":
    sys.exit(main())
