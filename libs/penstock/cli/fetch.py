"""`penstock fetch`."""

from __future__ import annotations

from pathlib import Path

import click

from penstock.cli import exit_codes
from penstock.cli.output import json_flag, print_json
from penstock.local import fetch as fetching
from penstock.local.folder import NAME
from penstock.local.jars import damaged, read_lock
from penstock.local.settings import LocalSettings, cache_folder
from penstock.runtime.settings import load

FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.option("--to", "target", type=FOLDER, help="Copy the jars into a folder to be carried elsewhere.")
@click.option("--from", "source", type=FOLDER, help="Take the jars from such a folder; no network is used.")
@json_flag
def fetch(target: Path | None, source: Path | None, as_json: bool) -> int:
    """Bring the jars of Kafka and the S3 server into the cache, each checked by its SHA-256.

    PENSTOCK_MAVEN_URL names another repository, XDG_CACHE_HOME another cache.
    """
    jars = read_lock().jars
    cache = cache_folder(Path.cwd() / NAME)
    if source is not None:
        count = fetching.copy_from(jars, cache, source)
    else:
        for jar in damaged(jars, cache):
            (cache / jar.filename).unlink(missing_ok=True)
        count = fetching.fetch(jars, cache, load(LocalSettings).maven_url)
    if target is not None:
        fetching.copy_to(jars, cache, target)
    if as_json:
        print_json(
            {"jars": len(jars), "new": count, "cache": str(cache), "to": str(target) if target else None}
        )
    else:
        click.echo(f"{len(jars)} jars are in {cache}" + (f" and in {target}" if target else ""))
    return exit_codes.OK
