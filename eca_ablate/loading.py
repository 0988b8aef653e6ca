"""From an experiment file and dotted overrides to an `Experiment`; whatever does not fit is refused by its path."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from eca_ablate.config import Experiment
from eca_ablate.errors import ConfigError, UserError, one_of


def load_experiment(file: str | Path | None, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment file and apply overrides like `["--recipe.epochs", "5"]`.

    YAML is loaded safely: a file cannot construct objects.

    Args:
        file: without one, the overrides change the defaults.
        overrides: dotted keys and their values.

    Raises:
        UserError: if the file cannot be read or is no YAML mapping.
        ConfigError: for an unknown key, a value of the wrong type or an impossible one, naming its path.
    """
    if file is None:
        return _parse(overrides)
    path = Path(file)
    try:
        written = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the experiment file {path}: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not plain YAML: {' '.join(str(error).split())}") from error
    if not isinstance(written, dict):
        raise UserError(f"{path} must hold keys such as `data`, `backbone` and `heads`, but got {written!r:.60}")
    for key, names in _unknown_keys(written, Experiment, ""):
        raise ConfigError(key, one_of("key", key.rpartition(".")[2], names))
    return _parse(["--config", str(path), *overrides])


class Header(NamedTuple):
    """What the comment on top of an experiment file asks, and what its author expects; empty where it does not say."""

    question: str
    expected: str


def read_header(file: str | Path) -> Header:
    """Return the question and the expectation of an experiment file.

    The question is the comment's text up to the first `Run:` or its like, if it ends with a question mark. `Expected:`
    goes on in lines that are indented.

    Raises:
        UserError: if the file cannot be read.
    """
    path = Path(file)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the experiment file {path}: {error}") from error
    comment = [line[1:] for line in itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())]
    top = itertools.takewhile(lambda line: not re.match(r" ?(Run|Cost|Expected):", line), comment)
    question = " ".join(" ".join(top).split())
    found = re.search(r"^ ?Expected:(.*(?:\n {2,}\S.*)*)", "\n".join(comment), re.MULTILINE)
    return Header(question if question.endswith("?") else "", " ".join(found[1].split()) if found else "")


def experiment_help() -> str:
    """Return the help text of every key."""
    return _parser().format_help()


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="eca-ablate run FILE", exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="an experiment file")
    parser.add_class_arguments(Experiment, None)
    return parser


def _parse(arguments: Sequence[str]) -> Experiment:
    parser = _parser()
    try:
        read = parser.parse_args(arguments)
        for key in _keys(Experiment, ""):
            absent = read[key.partition(".")[0]] is None and "." in key  # an optional section
            if not absent and read[key] is None and "None" not in _declared(key):
                raise ConfigError(key, f"must be of type {_declared(key)}, but got nothing")
        parsed = parser.instantiate(read)
    except UserError:
        raise
    except (ArgumentError, ValueError) as error:
        raise _readable(str(error)) from error
    return Experiment(**{item.name: parsed[item.name] for item in fields(Experiment)})


def _unknown_keys(written: dict[Any, Any], kind: Any, path: str) -> Iterator[tuple[str, list[str]]]:
    hints = get_type_hints(kind)
    known = [item.name for item in fields(kind)]
    for key, value in written.items():
        if key not in known:
            yield f"{path}{key}", known
        elif is_dataclass(section := _section(hints[key])):
            if not isinstance(value, dict):
                names = ", ".join(item.name for item in fields(section))
                raise ConfigError(f"{path}{key}", f"must hold keys ({names}), but got {value!r:.60}")
            yield from _unknown_keys(value, section, f"{path}{key}.")


def _section(hint: Any) -> Any:
    """Return the dataclass of a section, also of one that may be absent; any other type as it is."""
    return next((kind for kind in get_args(hint) if is_dataclass(kind)), hint)


def _readable(message: str) -> UserError:
    """Say in one line what jsonargparse found: the key, what it takes, and what it got."""
    names = _keys(Experiment, "")
    unknown = re.search(r"unrecognized arguments: (?:--)?([^\s=]+)", message)
    if unknown:
        return ConfigError(unknown.group(1), one_of("key", unknown.group(1), names))
    ours = re.search(r"^\s*- (search[\w.\[\]-]*): (.*)$", message, re.MULTILINE)  # of an optional section
    if ours:
        return ConfigError(ours.group(1), ours.group(2))
    keys = re.findall(r'Parser key "([\w.]+)"', message)
    key = next((key for key in (".".join(keys), *keys[::-1]) if key in names), None)
    if key is None:
        return UserError(" ".join(message.split()))
    got = re.search(r"(?:Got value|Given value): (.*)", message)
    allowed = re.findall(r"typing.Literal\[(.*?)\]", message)
    takes = f"one of {allowed[0]}" if allowed else f"of type {_declared(key).replace(' | None', '')}"
    return ConfigError(key, f"must be {takes}, but got {got.group(1) if got else 'something else'!s:.80}")


def _declared(key: str) -> str:
    """Return the type of a key as `config` writes it."""
    kind: Any = Experiment
    *groups, last = key.split(".")
    for name in groups:
        kind = _section(get_type_hints(kind)[name])
    return next(str(item.type) for item in fields(kind) if item.name == last)


def _keys(kind: Any, path: str) -> list[str]:
    hints = get_type_hints(kind)
    found: list[str] = []
    for item in fields(kind):
        found.append(f"{path}{item.name}")
        section = _section(hints[item.name])
        if is_dataclass(section):
            found[-1:] = _keys(section, f"{path}{item.name}.")
    return found
