"""The command line: parsing only. What a command does is in `commands`, which loads when one is called."""

from __future__ import annotations

import argparse
import errno
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields

from eca_ablate import __version__, allocator
from eca_ablate.config import Experiment
from eca_ablate.errors import UserError

INTERRUPTED, TERMINATED = 130, 143
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
MEND = "make room and give the same command again: what is finished is in the study"
OVERRIDABLE = ("run", "plan", "cost")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 2 for a mistake of the user's, 130 and 143 for a stop."""
    parser = _parser()
    written = list(sys.argv[1:] if arguments is None else arguments)
    ours, overrides = _part(written) if written and written[0] in OVERRIDABLE else (written, [])
    given, rest = parser.parse_known_args(ours)
    if rest and given.command not in OVERRIDABLE:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if given.command == "run" and given.engine != "ray" and (given.address or given.gpus_per_worker):
        parser.error("`--address` and `--gpus-per-worker` are for `--engine ray`")
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return _dispatch(given, [*overrides, *rest])
    except UserError as error:
        print(f"eca-ablate: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # what is left to do may be cut short
        return INTERRUPTED
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        print(f"eca-ablate: error: cannot write {error.filename}: {error.strerror}; {MEND}", file=sys.stderr)
        return 2


def _part(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part the overrides of an experiment's keys from all else, so that no value of theirs is taken for FILE."""
    keys = [item.name for item in fields(Experiment)]
    ours: list[str] = []
    overrides: list[str] = []
    waits = False  # for the value of an override
    for argument in arguments:
        name, written, _ = argument.partition("=")
        is_key = name.startswith("--") and ("." in name or name[2:] in keys)
        if is_key or (waits and not argument.startswith("--")):
            overrides.append(argument)
        else:
            ours.append(argument)
        waits = is_key and not written
    return ours, overrides


def _dispatch(given: argparse.Namespace, rest: list[str]) -> int:
    if given.command == "report":
        from eca_ablate.report.command import show_report

        return show_report(given.folder, given.baseline)
    if given.command == "power":
        from eca_ablate.report.command import show_power

        return show_power(
            given.folder, given.difference, given.baseline, given.metric, given.seeds, given.power, given.json
        )
    allocator.tune()  # before torch is imported
    from eca_ablate import commands

    match given.command:
        case "run":
            manner = commands.Manner(
                engine=given.engine,
                workers=given.workers,
                keep_weights=given.keep_weights,
                gate_histograms=given.gate_histograms,
                address=given.address,
                gpus=given.gpus_per_worker,
                checkpoint_seconds=given.checkpoint_seconds,
                keep_checkpoints=given.keep_checkpoints,
            )
            return commands.run_experiment(given.file, rest, given.out, given.storage, manner)
        case "plan":
            return commands.show_plan(given.file, rest, given.out, given.storage, given.json)
        case "cost":
            return commands.show_cost(
                given.file, rest, given.image_size, given.classes, given.batch_size, given.rounds, given.json
            )
        case "gates":
            return commands.write_gates(given.folder, given.root)
        case "data":
            return commands.prepare_data(given.name, given.root, given.image_size)
        case _:
            return commands.show_doctor(given.json)


def _terminate(*_: object) -> None:
    raise SystemExit(TERMINATED)


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least}, but got {text!r}")
        return int(text)

    return number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of seconds from 0, but got {text!r}")
    return seconds


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not (0 <= share <= 1 or (1 < share < 1000 and share == int(share))):
        raise argparse.ArgumentTypeError(f"must be a part of a GPU or a whole number of them, but got {text!r}")
    return share


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="eca-ablate", description="Paired ablation studies of channel attention.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    dotted = "Any key of the experiment can be overridden by its path: --recipe.epochs 5 --seeds 2 --data.root DIR"

    run = commands.add_parser("run", help="plan, train what is missing, report", epilog=dotted, allow_abbrev=False)
    plan = commands.add_parser("plan", help="show what would run and what is shared", epilog=dotted, allow_abbrev=False)
    cost = commands.add_parser(
        "cost", help="weights, multiply-accumulates and measured speed of heads", epilog=dotted, allow_abbrev=False
    )
    for command in (run, plan):
        command.add_argument("file", metavar="FILE", help="the experiment")
        command.add_argument("--out", metavar="DIR", help="results folder (default: results/<name of FILE>)")
        command.add_argument("--storage", metavar="URL", help="of the study (default: an SQLite file in the folder)")
    run.add_argument(
        "--workers", type=_at_least(1), metavar="N", help="processes (default: cores over threads of a run)"
    )
    run.add_argument(
        "--checkpoint-seconds",
        "--checkpoint_seconds",
        type=_seconds,
        default=30.0,
        metavar="S",
        help="between two checkpoints of a run (default: 30; 0 saves at every step)",
    )
    run.add_argument(
        "--keep-checkpoints", "--keep_checkpoints", action="store_true", help="do not remove those of finished runs"
    )
    run.add_argument("--engine", choices=["local", "ray"], default="local", help="who runs the workers")
    run.add_argument("--address", help="of an existing Ray cluster (default: RAY_ADDRESS, or one on this machine)")
    run.add_argument(
        "--gpus-per-worker", "--gpus_per_worker", type=_share, default=0.0, metavar="X", help="for Ray: 0.25, 1, ..."
    )
    run.add_argument("--keep-weights", "--keep_weights", action="store_true", help="leave each run's weights in DIR")
    run.add_argument(
        "--gate-histograms", "--gate_histograms", action="store_true", help="of every epoch, for TensorBoard"
    )

    report = commands.add_parser("report", help="write the tables again from the stored rows")
    power = commands.add_parser("power", help="how many seeds would tell a difference apart")
    for command in (report, power):
        command.add_argument("folder", metavar="DIR", help="a results folder")
        command.add_argument(
            "--baseline", metavar="LABEL", help="what rows are compared with (default: none, or else the first row)"
        )
    power.add_argument(
        "--difference",
        default="0.72",
        metavar="POINTS",
        help="true difference in percentage points, or `paper`: each head's own (default: 0.72, the paper's SE to ECA)",
    )
    power.add_argument("--metric", default="test_top1", help="whose spread is taken (default: test_top1)")
    power.add_argument("--seeds", type=_at_least(3), metavar="N", help="power at N seeds (default: those there are)")
    power.add_argument("--power", type=float, default=0.8, metavar="P", help="for the seeds needed (default: 0.8)")

    gates = commands.add_parser("gates", help="measure the gates of kept weights on the test images")
    gates.add_argument("folder", metavar="DIR", help="a results folder of `run --keep-weights`")
    gates.add_argument("--root", "--data.root", metavar="DIR", help="folder of an imagefolder")

    cost.add_argument("file", metavar="FILE", nargs="?", help="an experiment (default: Table 2's heads)")
    cost.add_argument(
        "--image-size", type=_at_least(1), metavar="N", help="pixels (default: FILE's, or 224, or 32 with a cifar stem)"
    )
    cost.add_argument(
        "--classes", type=_at_least(1), metavar="N", help="outputs (default: FILE's, or 1000, or 10 with a cifar stem)"
    )
    cost.add_argument("--batch-size", type=_at_least(1), default=16, metavar="N", help="images a step (default: 16)")
    cost.add_argument(
        "--rounds", type=_at_least(0), default=5, metavar="N", help="of speed measurement (default: 5; 0 measures none)"
    )

    data = commands.add_parser("data", help="download, verify and decode data sets")
    prepare = data.add_subparsers(dest="action", required=True, metavar="ACTION").add_parser(
        "prepare", help="download, verify and decode one"
    )
    prepare.add_argument(
        "name", metavar="NAME", help="digits, cifar10, cifar100, tiny_imagenet, imagenette, imagefolder"
    )
    prepare.add_argument("--root", "--data.root", metavar="DIR", help="folder of an imagefolder")
    prepare.add_argument("--image-size", "--data.image_size", type=_at_least(1), metavar="N", help="pixels")

    doctor = commands.add_parser("doctor", help="what this machine can do, and what is wrong")
    for command in (plan, cost, power, doctor):
        command.add_argument("--json", action="store_true", help="print JSON, for scripts")
    return parser


if __name__ == "__main__":
    sys.exit(main())
