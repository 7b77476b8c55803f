"""How large a definition may be (protocol §1); every limit is enforced before the memory is spent."""

from __future__ import annotations

from typing import Final

MAX_YAML_BYTES: Final = 512 * 1024
MAX_JSON_BYTES: Final = 16 * 1024 * 1024
"""Of a definition that came as an object, written as compact JSON."""
MAX_DEPTH: Final = 32
MAX_NODES: Final = 50_000
"""Scalars, lists and objects of a YAML file, those that aliases repeat counted each time."""
MAX_ALIAS_NODES: Final = 10_000
"""Nodes that exist only because an alias repeats them."""
MAX_ALIAS_BYTES: Final = 4 * 1024 * 1024
"""Characters of text that exist only because an alias repeats them."""

MAX_JOBS_YAML: Final = 1_000
MAX_JOBS_JSON: Final = 10_000
MORE_JOBS: Final = f"as JSON, {MAX_JOBS_JSON:,} are taken"
MAX_EDGES: Final = 100_000
"""Edges of a pipeline after stages and matrices are expanded."""
MAX_MATRIX_CELLS: Final = 256
"""Cells of one matrix, as at GitHub; also values of a list and entries of `include` and `exclude`.
Jobs count after matrices are expanded."""
MAX_MATRIX_KEYS: Final = 32
"""Of one matrix, those that only `include` has among them."""
MAX_MATRIX_WORK: Final = 200_000
"""Combinations times their keys and what each is compared with, over all matrices of a definition."""
MAX_FILLED_NODES: Final = 100_000
"""Scalars, lists and objects of those keys of jobs that have expressions, written out for each cell."""
MAX_EXPANDED_BYTES: Final = MAX_JSON_BYTES
"""All jobs with a matrix together, with their cells written out."""
MAX_STAGES: Final = 1_000
MAX_STEPS: Final = 256
"""Steps of one job."""

MAX_JOB_NAME_BYTES: Final = 1_024
MAX_NAME_BYTES: Final = 255
"""Of the name of a pipeline, a stage, a step or a shell."""
MAX_PATH_BYTES: Final = 1_024
MAX_LABELS: Final = 32
MAX_LABEL_BYTES: Final = 128
MAX_LOCKS: Final = 32
"""Of one job."""
MAX_GROUP_BYTES: Final = 1_024
"""Of the name of a concurrency group, when the request's `git` is put in."""
MAX_CPU: Final = 4_096
MIN_MEMORY_BYTES: Final = 1024**2
MAX_MEMORY_BYTES: Final = 64 * 1024**4

MAX_ENV_BYTES: Final = 64 * 1024
"""Names and values of one `env`; Linux gives a process 128 KiB for one variable."""
MAX_PLAN_ENV_BYTES: Final = 64 * 1024 * 1024
"""File-wide `env` times jobs: it is stored with each job."""

MAX_DURATION_SECONDS: Final = 7 * 86_400
MAX_RETRIES: Final = 20
MAX_IMMEDIATE_SECONDS: Final = 60
"""How long an attempt of an `immediate` job may run."""

MAX_PROBLEMS: Final = 250
"""Problems reported of one definition: status records and answers have limits too."""
MAX_SCRIPT_BYTES: Final = 1024 * 1024
"""All scripts of one job together: a grant must fit into a record."""
