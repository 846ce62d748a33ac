"""Starts one worker process per engine and lets a single one run at a time."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from tools.engines.adapters.base import Job, thread_environment
from tools.engines.environment import ROOT
from tools.engines.worker import Ask, Failed, Ready, Sample


class EngineError(Exception):
    """An engine failed; the message is the reason for the table."""


class Worker:
    """The coordinator's end of one engine.

    Between two requests the process is stopped (SIGSTOP): threads that would spin for work, as most pools do for a
    while after a run, cannot take time from the engine being measured, and no engine's settings have to be changed.
    """

    def __init__(self, name: str, job: Job, inputs: Path, log: Path, timeout: float) -> None:
        """Start the process and wait until the engine is ready.

        Args:
            name: of adapters.NAMES.
            job: the model.
            inputs: .npy file, float32 [n, *input_shape].
            log: receives everything that the engine prints.
            timeout: seconds allowed for each answer.

        Raises:
            EngineError: the engine cannot run the model, died, or did not answer in time.
        """
        self.name = name
        self._timeout = timeout
        self._log = log
        ours, theirs = socket.socketpair()
        with log.open("wb") as sink:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tools.engines.worker", name, str(theirs.fileno())],
                cwd=ROOT,
                env=thread_environment(job.threads),
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
            )
        theirs.close()
        self._connection = Connection(ours.detach())
        try:
            ready = self._exchange(job, str(inputs))
            assert isinstance(ready, Ready)
        except EngineError:
            self.close()
            raise
        self.labels = ready.labels
        self.version = ready.version
        self.prepare_seconds = ready.seconds
        self._stop()

    @property
    def pid(self) -> int:
        """Process number."""
        return self._process.pid

    def ask(self, request: Ask) -> Sample:
        """Wake the process, run one request, and stop it again.

        Raises:
            EngineError: as in the constructor.
        """
        self._process.send_signal(signal.SIGCONT)
        sample = self._exchange(request)
        assert isinstance(sample, Sample)
        self._stop()
        return sample

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.kill()
        self._process.wait()

    def _stop(self) -> None:
        """Stop the process and wait until all its threads have stopped."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)

    def _exchange(self, *messages: object) -> Ready | Sample:
        try:
            for message in messages:
                self._connection.send(message)
            if not self._connection.poll(self._timeout):
                raise EngineError(f"no answer within {self._timeout:.0f} s")
            answer: Ready | Sample | Failed = self._connection.recv()
        except (EOFError, OSError) as error:
            raise EngineError(f"the process {self._death()}; its log is {self._log.name}") from error
        if isinstance(answer, Failed):
            raise EngineError(answer.reason)
        return answer

    def _death(self) -> str:
        try:
            code = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return "closed its connection"
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def start_all(
    names: Sequence[str], job: Job, inputs: Path, logs: Path, timeout: float
) -> tuple[list[Worker], dict[str, str]]:
    """Start engines one after the other.

    Returns:
        The workers that are ready, and for every other engine the reason why not.
    """
    workers: list[Worker] = []
    failures: dict[str, str] = {}
    for name in names:
        print(f"  {name}: converting and loading", file=sys.stderr, flush=True)
        try:
            workers.append(Worker(name, job, inputs, logs / f"{name.replace(':', '-')}-{job.threads}.log", timeout))
        except EngineError as error:
            failures[name] = str(error)
            print(f"  {name}: {error}", file=sys.stderr, flush=True)
    return workers, failures
