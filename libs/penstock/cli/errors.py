"""Where errors become sentences on stderr and exit codes; a traceback only with PENSTOCK_DEBUG=1."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import click
import msgspec

from penstock.cli import exit_codes
from penstock.cli.output import SURROGATE, json_bytes
from penstock.core.errors import PenstockError, Problem, RejectInput, RetryLater
from penstock.runtime.settings import variable


def guarded(run: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call click's `main`; leave the process by the exit code that belongs to what happened."""
    if not kwargs.pop("standalone_mode", True):
        return run(*args, standalone_mode=False, **kwargs)
    words: Sequence[str] = kwargs.get("args") or (args[0] if args else None) or sys.argv[1:]
    try:
        code = run(*args, standalone_mode=False, **kwargs)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.exceptions.Abort, KeyboardInterrupt):
        sys.exit(exit_codes.INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has left; nothing more may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(exit_codes.OK)
    except Exception as error:  # whatever it is, a user gets a sentence and not a traceback
        if variable("PENSTOCK_DEBUG") == "1":
            raise
        _leave(_blamed(error, words), as_json="--json" in words)
    else:
        sys.exit(code if isinstance(code, int) else exit_codes.OK)


def _blamed(error: Exception, words: Sequence[str]) -> Exception:
    """The error, or that of a word which is no text, wherever it was that somebody noticed."""
    broken = [word for word in words if SURROGATE.search(word)]
    if not broken or exit_code_of(error) != exit_codes.INTERNAL:
        return error
    hint = "only a file may have such a name"
    return RejectInput(Problem(f"the argument {broken[0]!r} is not UTF-8", hint=hint))


def exit_code_of(error: Exception) -> int:
    """The exit code that tells a script what to do about this error."""
    own = getattr(error, "exit_code", None)  # an error of the local stack may know better
    if isinstance(own, int):
        return own
    match error:
        case RejectInput():
            return exit_codes.USAGE
        case RetryLater():
            return exit_codes.RETRY_LATER
        case PenstockError():
            return exit_codes.CONFIGURATION
        case _:
            return exit_codes.INTERNAL


def _leave(error: Exception, *, as_json: bool) -> NoReturn:
    code = exit_code_of(error)
    if as_json:
        problems = [msgspec.to_builtins(problem) for problem in getattr(error, "problems", ())]
        facts = {"kind": type(error).__name__, "message": _sentence(error, code), "exit_code": code}
        body = {"error": {**facts, **({"problems": problems} if problems else {})}}
        click.echo(json_bytes(body), err=True)
    else:
        click.secho("error: ", fg="red", nl=False, err=True)
        click.echo(_sentence(error, code), err=True)
    sys.exit(code)


def _sentence(error: Exception, code: int) -> str:
    if isinstance(error, RejectInput):
        lines = [str(problem) for problem in error.problems]
        return lines[0] if len(lines) == 1 else "\n  ".join([f"{len(lines)} problems:", *lines])
    if code == exit_codes.INTERNAL:
        about = f"{type(error).__name__}: {error}"
        return (
            f"{about}. This is a fault of Penstock: run again with PENSTOCK_DEBUG=1 and report what it prints"
        )
    return str(error)
