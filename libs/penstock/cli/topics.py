"""`penstock topics apply|diff`."""

from __future__ import annotations

import click

from penstock.cli import exit_codes
from penstock.cli.output import json_flag, print_json
from penstock.cli.target import target_settings
from penstock.runtime.settings import KafkaSettings


@click.group()
def topics() -> None:
    """Create the topics, or compare them with the cluster."""


@topics.command()
@json_flag
def apply(as_json: bool) -> int:
    """Create missing topics and mend the settings of others. It may be repeated."""
    from penstock.kafka.admin import apply_topics

    changes = apply_topics(target_settings(KafkaSettings))
    if as_json:
        print_json({"applied": changes})
    else:
        click.echo("\n".join(changes) or "the topics are as declared")
    return exit_codes.OK


@topics.command()
@json_flag
def diff(as_json: bool) -> int:
    """List how the cluster's topics differ from those declared; exit code 1 when they do."""
    from penstock.kafka.admin import diff_topics

    differences = diff_topics(target_settings(KafkaSettings))
    if as_json:
        print_json({"differences": differences})
    else:
        click.echo("\n".join(differences) or "the topics are as declared")
    return exit_codes.PIPELINE_FAILED if differences else exit_codes.OK
