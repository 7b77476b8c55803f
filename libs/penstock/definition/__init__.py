"""Pipeline definitions: read, checked and planned by one family of pure functions.

`penstock lint`, the gateway and intake all do the same three things::

    source = load_yaml(text)             # or load_json_object(obj)
    definition = check(source)           # RejectInput with every problem, its line and a hint
    plan(definition, inputs=…, env=…, request_priority=…, git=…, trigger=…)

Decisions that are not obvious:

- A key that interface §6 knows and nothing here can do yet is refused as "not supported yet", and so is
  every `${{ … }}` but those of a matrix and, in `concurrency`, of git, also in `run`: a script that reaches
  the shell with it unreplaced does something else than its author thinks. GitHub has no escape for these
  characters, so there is none here; a shell prints them with `'$''{{'`.
- A matrix is expanded before the rest of its job is read, so every cell is a job like any other. It makes no
  more than could have been written out by hand: jobs, edges and bytes have the same limits.
- `resources` is merged with that of `defaults` key by key, as `timeout` is.
- `!cancelled()` is `always()`: cancelling a pipeline cancels all that has not started.
- YAML values keep the text in which they were written: `3.10` in `env` stays `3.10`, and keys are never
  anything but text, so `on:` is `on`.
- `runs-on` of a job replaces that of `defaults` as a whole; `timeout` is merged key by key, `env` name by
  name.
- A `noop` job may have `run` or `steps`; they are not run. So `defaults: {executor: noop}` is a dry run.
"""

from penstock.definition.check import check
from penstock.definition.digest import digest
from penstock.definition.model import Definition, Job, JobSpec, Plan, PlannedJob, Step
from penstock.definition.plan import plan
from penstock.definition.source import Source, load_json_object
from penstock.definition.yaml_source import load_yaml

__all__ = [
    "Definition",
    "Job",
    "JobSpec",
    "Plan",
    "PlannedJob",
    "Source",
    "Step",
    "check",
    "digest",
    "load_json_object",
    "load_yaml",
    "plan",
]
