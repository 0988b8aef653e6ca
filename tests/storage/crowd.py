"""Many processes that work on one study, each run a nap: started as a program, told what to do on standard input.

The libraries are imported once, and then as many processes fork as are asked for. What is tried is the queue; each
process opens the study for itself. Every run that is begun and every one that is done leaves a line in `log`.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eca_ablate.config import RunConfig
from eca_ablate.storage import opening
from eca_ablate.study import RunsStudy


@dataclass(frozen=True)
class Crowd:
    """What the processes are told: the study, how many they are, and how long a run and a silence last."""

    url: str
    folder: str
    processes: int = 8
    nap: float = 0.02
    heartbeat: int = 20
    grace: int = 90

    def start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(vars(self)) + "\n")
        process.stdin.close()
        process.stdin = None
        return process

    def lines(self) -> list[list[str]]:
        log = Path(self.folder) / "log"
        return [line.split() for line in log.read_text().splitlines()] if log.exists() else []

    def begun(self) -> Counter[str]:
        return Counter(key for word, key, _ in self.lines() if word == "begin")

    def hands(self) -> set[str]:
        return {process for _, _, process in self.lines()}


def work(crowd: Crowd) -> None:
    log = os.open(Path(crowd.folder) / "log", os.O_APPEND | os.O_CREAT | os.O_WRONLY)

    def note(word: str, key: str) -> None:
        os.write(log, f"{word} {key} {os.getpid()}\n".encode())  # one write: lines of many processes do not mingle

    def execute(config: RunConfig, _: Any) -> dict[str, Any]:
        note("begin", config.key())
        time.sleep(crowd.nap * random.uniform(0.5, 1.5))
        note("end", config.key())
        return {"key": config.key(), "val_top1": 50.0, "by": os.getpid()}

    RunsStudy(crowd.url, Path(crowd.folder)).work(execute)


def main() -> int:
    crowd = Crowd(**json.loads(sys.stdin.readline()))
    opening.HEARTBEAT_SECONDS, opening.GRACE_SECONDS = crowd.heartbeat, crowd.grace
    children = []
    for _ in range(crowd.processes):
        child = os.fork()
        if child == 0:
            try:
                work(crowd)
            except BaseException:
                import traceback

                traceback.print_exc()
                sys.stderr.flush()
                os._exit(1)
            os._exit(0)
        children.append(child)
    print("started", *children, flush=True)
    return max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0 for child in children)


if __name__ == "__main__":
    sys.exit(main())
