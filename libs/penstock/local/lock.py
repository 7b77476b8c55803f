"""`python -m penstock.local.lock`: resolve the servers' jars anew and write `jars.lock.json`.

To upgrade a server change its version here, run the command, run the tests and commit both files.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

import msgspec
from jgo.maven import Artifact, MavenContext

from penstock.local.jars import LOCK_NAME, Jar, JarLock, sha256_of

KAFKA: Final = "org.apache.kafka:kafka_2.13:4.3.1"
KAFKA_LOGGING: Final = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4"  # without it nothing is logged
S3PROXY: Final = ("org.gaul", "s3proxy", "4.1.0", "jar-with-dependencies")


def main() -> None:
    """Resolve, download everything once, and write the lock file beside this module."""
    with tempfile.TemporaryDirectory() as cache:
        context = MavenContext(repo_cache=Path(cache))
        group, artifact, version, classifier = S3PROXY
        kafka, runtime = context.resolver.resolve([context.create_dependency(KAFKA)])
        logging, _ = context.resolver.resolve([context.create_dependency(KAFKA_LOGGING)], transitive=False)
        lock = JarLock(
            schema=1,
            kafka=tuple(_locked(found.artifact) for found in (*kafka, *runtime, *logging)),
            s3proxy=(_locked(context.project(group, artifact).at_version(version).artifact(classifier)),),
        )
    text = msgspec.json.format(msgspec.json.encode(lock), indent=1)
    Path(__file__).with_name(LOCK_NAME).write_bytes(text + b"\n")
    size = sum(jar.size for jar in lock.jars) / 1e6
    sys.stdout.write(f"{LOCK_NAME}: {len(lock.jars)} jars, {size:.0f} MB\n")


def _locked(artifact: Artifact) -> Jar:
    path = artifact.resolve()
    return Jar(
        group=artifact.groupId,
        artifact=artifact.artifactId,
        version=artifact.version,
        classifier=artifact.classifier,
        size=path.stat().st_size,
        sha256=sha256_of(path),
    )


if __name__ == "__main__":
    main()
