"""Workers on a Ray cluster: Ray's scheduler finds the places, and each place supervises one worker process."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from eca_ablate.data.cache import cache_folder
from eca_ablate.engine.job import TICK, Event, Job
from eca_ablate.engine.local import PATIENCE_SECONDS, TICK_SECONDS, run_local
from eca_ablate.errors import UserError

RETRIES = 5  # of a place whose Ray process or machine died


def run_ray(
    job: Job,
    workers: int | None,
    on_event: Callable[[Event], None],
    *,
    most: int,
    address: str | None = None,
    gpus: float = 0.0,
) -> None:
    """Work until the study has nothing to do.

    Args:
        job: for every worker.
        workers: places; None takes as many as the cluster has room for now.
        on_event: called in this thread with what the workers report.
        most: places that could have something to do.
        address: of an existing cluster, as `ray.init` takes it; None takes RAY_ADDRESS, and without it starts a cluster
            on this machine that ends with the command.
        gpus: that Ray shall keep for a worker, fractions allowed.

    Raises:
        UserError: if Ray is not installed, the cluster does not answer or has no room for one worker, its machines
            cannot reach the study, or workers keep dying.
    """
    stop, asked = signal.getsignal(signal.SIGTERM), threading.Event()
    ray = _connect(address or os.environ.get("RAY_ADDRESS") or "local")
    try:
        _require_reach(ray, job.storage)
        count = min(workers or _room(ray, job.threads, gpus), most)
        queue: Any = importlib.import_module("ray.util.queue")
        events = queue.Queue(actor_options={"num_cpus": 0})
        place = ray.remote(num_cpus=job.threads, num_gpus=gpus, max_retries=RETRIES)(_work)
        at_work = [place.remote(job.to_json(), events) for _ in range(count)]
        everywhere = list(at_work)
        # Ray takes SIGTERM for itself, and makes any SystemExit that is raised within its calls one with code 1.
        signal.signal(signal.SIGTERM, lambda *_: asked.set())
        try:
            while True:
                if asked.is_set() and callable(stop):
                    stop(signal.SIGTERM, None)
                try:
                    on_event(Event(**events.get(timeout=TICK_SECONDS)))
                    continue
                except queue.Empty:
                    on_event(TICK)
                done, at_work = ray.wait(at_work, num_returns=len(at_work), timeout=0)
                for task in done:
                    _raise_what_ended(ray, task)
                if not at_work and events.empty():
                    return
        finally:
            for task in at_work:
                ray.cancel(task, force=False)
            ray.wait(everywhere, num_returns=len(everywhere), timeout=PATIENCE_SECONDS)
    finally:
        ray.shutdown()
        signal.signal(signal.SIGTERM, stop)


def _work(job_json: str, events: Any) -> None:
    """Supervise one worker; runs in a process of Ray's, maybe on another machine.

    If that process is killed the worker's input closes with it, and the worker puts its run back.
    """
    job = Job.from_json(job_json)
    job = replace(job, folder=str(_folder(Path(job.folder))))
    run_local(job, 1, lambda event: None if event == TICK else events.put(asdict(event)))


def _folder(folder: Path) -> Path:
    """Return the results folder, or where this machine has no such place one of its name in the cache."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = cache_folder() / "results" / folder.name
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _connect(address: str) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError:
        raise UserError("`--engine ray` needs Ray, which is not installed: pip install 'eca_ablate[ray]'") from None
    _knock(address)
    local = {"include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", configure_logging=False, **local)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, AssertionError) as error:
        with contextlib.suppress(Exception):
            ray.shutdown()
        reason = " ".join(str(error).split())
        raise UserError(
            f"no Ray cluster answers at {address!r}: {reason}; check `--address`, or leave it away"
        ) from None
    return ray


def _knock(address: str) -> None:
    """Find out at once that nobody is there: Ray itself tries for more than a minute, and fills the screen."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except OSError as error:
            raise UserError(
                f"no Ray cluster answers at {address!r}: {error.strerror or error}; check `--address`, or leave it away"
            ) from None


def _require_reach(ray: Any, storage: str) -> None:
    away = {node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]} - {socket.gethostname()}
    if storage.startswith("sqlite") and away:
        raise UserError(
            f"the study must be within reach of every machine of the cluster, but {', '.join(sorted(away))} cannot "
            "open an SQLite file on this one; use `--storage postgresql://...`"
        )


def _room(ray: Any, threads: int, gpus: float) -> int:
    has = ray.cluster_resources()
    room = int(has.get("CPU", 0) // threads)
    if gpus:
        room = min(room, int(has.get("GPU", 0) / gpus + 1e-9))
    if room < 1:
        raise UserError(
            f"a worker needs {threads} CPUs and {gpus:g} GPUs, but the cluster has {has.get('CPU', 0):g} and "
            f"{has.get('GPU', 0):g}; check `threads` and `--gpus-per-worker`"
        )
    return room


def _raise_what_ended(ray: Any, task: Any) -> None:
    try:
        ray.get(task)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise UserError(str(error.cause)) from None
        raise
    except ray.exceptions.RayError as error:
        raise UserError(f"Ray gave up on a worker: {' '.join(str(error).split())}; the same command goes on") from None
