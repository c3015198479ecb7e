"""The demonstration's two rollouts under traffic: one version is promoted, another one freezes and is rolled back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.adapters.airflow_rest import AirflowApi
from pipelines.cli import stack
from pipelines.cli.components import environment
from pipelines.cli.progress import Progress
from pipelines.demo.people import DemoUsers
from pipelines.errors import AirworthyError
from pipelines.ledger.run_verdicts import refusal_text
from pipelines.ledger.version_state import State, read_versions, versions_in
from pipelines.messages.rollout import RolloutState
from pipelines.ports import Ports

if TYPE_CHECKING:
    from pipelines.demo.rollout_plot import TimelineEvent

RPS = 60.0
TRAFFIC_SECONDS = 900.0
HEALTHY_SECONDS_BEFORE_FREEZE = 4.0
"""How long the candidate answers before it is frozen."""
ENDED_RUN_STATES = ("success", "failed")
UNDEPLOYED = (State.APPROVED, State.STAGED, State.FAILED_BEFORE_TRAFFIC, State.ROLLED_BACK)
IDLE_POLLS = 5
"""Polls without an active deployment, a second apart, after which Airflow starts none by itself."""
HYPOTHESIS = "Two more weeks tell how March differs from the winter."


class RolloutDemo:
    """A version that is promoted, and after it one that is frozen under traffic and rolled back by the guard."""

    def __init__(
        self, model: str, first: date, ports: Ports, airflow: AirflowApi, people: DemoUsers, progress: Progress
    ) -> None:
        self.model, self.first, self.ports, self.airflow, self.progress = model, first, ports, airflow, progress
        self.target, self.people = ports.target(model), people
        self.folder = ports.settings.home / "rollout"
        self.incidents: list[TimelineEvent] = []
        self.begun = time.time()
        self.unexpected: list[str] = []
        """Deployments that did not end as they were to, with why: the next demonstration tries them again."""

    @property
    def answers(self) -> Path:
        return self.folder / "answers.parquet"

    @property
    def picture(self) -> Path:
        return self.folder / "rollout.png"

    @property
    def completion_marker(self) -> Path:
        """Marks that this part of the demonstration is complete."""
        return self.folder / "shown"

    def undeployed_version(self) -> str | None:
        """The newest approved version that was never live."""
        lines = self.ports.ledger.entries(self.model)
        live = {line.version for line in lines if line.kind == "release"}
        return next(
            (version for version in versions_in(read_versions(lines), *UNDEPLOYED) if version not in live), None
        )

    def run(self) -> None:
        """Run this part of the demonstration unless it is complete; an interrupted one is continued."""
        self.progress.begin_part(f"{self.model} in stages: shadow, two approvals, canary, promotion; then a failure")
        if self.completion_marker.exists():
            self.progress.print_note("is complete already")
            return
        deployed_before = len({line.version for line in self.ports.ledger.entries(self.model, kind="release")}) > 1
        if self.undeployed_version() is None and not deployed_before:
            self._train()
        self.airflow.unpause(f"{self.model}__deploy")
        version = self.undeployed_version()
        if version is None and not deployed_before:
            self.progress.print_note("no candidate passed the gates; nothing is to be deployed")
            return
        self.begun = time.time()
        traffic = self._start_traffic()
        try:
            if version is not None:
                self.progress.print_note(f"version {version} is deployed in stages, under {RPS:g} requests per second")
                if self._deploy(version, freeze_candidate=False):
                    self._run_drill()
            if not self.unexpected:
                self._deploy_failing_version()
        finally:
            traffic.send_signal(signal.SIGTERM)
            traffic.wait(60)
        self._summarize()

    def _deploy_failing_version(self) -> None:
        """Deploy the former champion again by hand, and freeze it while it has traffic."""
        former = self.target.state(self.model).previous
        if former is None:
            self.progress.print_note("there is no second version to freeze")
            return
        self.progress.print_note(f"version {former} is deployed again by hand, and will freeze under traffic")
        if self._deploy(former, freeze_candidate=True):
            self.completion_marker.touch()

    def _train(self) -> None:
        """Train a version on all data so far, for the gates to judge: monitoring has not led to a new one yet."""
        conf = {"hypothesis": HYPOTHESIS, "as_of": (self.first - timedelta(days=1)).isoformat()}
        train = self.people.train(self.model, conf)
        before = len(self.ports.registry.versions(self.model))

        def judged() -> tuple[bool, str]:
            newest = self.ports.registry.versions(self.model)
            failed = any(
                r["dag_run_id"] == train and r["state"] == "failed" for r in self.airflow.runs(f"{self.model}__train")
            )
            known = read_versions(self.ports.ledger.entries(self.model))
            state = known[newest[0].version].state if len(newest) > before and newest[0].version in known else None
            return failed or state not in (None, State.CANDIDATE), f"the next version is {state or 'in training'}"

        self.progress.wait(judged, timeout=600, what="the next version")

    def _start_traffic(self) -> subprocess.Popen[bytes]:
        """Start a process that sends requests until SIGTERM."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pipelines.cli.main", "traffic", self.model, "--from", f"{self.first}"]
        command += ["--days", "60", "--rps", f"{RPS:g}", "--seconds", f"{TRAFFIC_SECONDS:g}", "--to", str(self.answers)]
        with (self.ports.settings.home / "logs" / "traffic.log").open("ab") as log:
            return subprocess.Popen(command, env=environment(self.ports.settings), stdout=log, stderr=log)

    def _deploy(self, version: str, *, freeze_candidate: bool) -> bool:
        """Trigger the deployment and wait for its end; ``freeze_candidate``: freeze it while it has traffic.

        Whether it ended as it was to: promoted, or rolled back by itself.
        """
        deploy = f"{self.model}__deploy"
        run = self._running_deployment(deploy, version) or self.airflow.trigger(deploy, {"version": version})
        frozen: list[float] = []
        healthy_since: list[float] = []
        rolled_back_at: list[float] = []
        answered_at = 0.0

        def poll() -> tuple[bool, str]:
            nonlocal answered_at
            state = self._rollout_state()
            if time.monotonic() - answered_at > 2:
                answered_at = time.monotonic()
                self.people.answer(deploy)
            if freeze_candidate and state is not None and state.phase == "BAKING" and state.split.get(version):
                healthy_since.append(time.time())
                if time.time() - healthy_since[0] > HEALTHY_SECONDS_BEFORE_FREEZE:
                    self._freeze_candidate(version, frozen)
            if frozen and state is not None and state.phase == "ROLLED_BACK" and not rolled_back_at:
                rolled_back_at.append(time.time())
                self.incidents.append((rolled_back_at[0], "rolled back", f"version {version} rolled back"))
            dag_run = next(each for each in self.airflow.runs(deploy) if each["dag_run_id"] == run)
            shares = "nothing is live" if state is None else self._describe_shares(state)
            return dag_run["state"] in ENDED_RUN_STATES, f"{shares}; {self._running_tasks(deploy, run)}"

        self.progress.wait(poll, timeout=420, what="the deployment")
        state = self._rollout_state()
        as_expected = rolled_back_at if freeze_candidate else state is not None and state.champion == version
        if state is None or not as_expected:
            why = refusal_text(self.ports.ledger.entries(self.model), f"{deploy}/{run}") or f"see {run} in Airflow"
            self.unexpected.append(
                f"the deployment of version {version} of {self.model} did not end as expected: {why}"
            )
            self.progress.print_note(self.unexpected[-1])
        elif freeze_candidate:
            seconds = f" {rolled_back_at[0] - frozen[0]:.1f} s after it froze" if rolled_back_at else ""
            self.progress.print_note(f"rolled back automatically{seconds}: {state.reason}")
        else:
            self.progress.print_note(f"version {version} is the champion, version {state.previous} can be restored")
        return bool(as_expected)

    def _running_deployment(self, deploy: str, version: str) -> str | None:
        """The active run of this version, once no other one is active; None if there is none for a while.

        It is one of an interrupted demonstration, or the one that Airflow starts for an approval as soon as the DAG is
        no longer paused: that one names no version.
        """
        idle_polls = 0

        def others_ended() -> tuple[bool, str]:
            nonlocal idle_polls
            busy = [run for run in self.airflow.runs(deploy) if run["state"] not in ENDED_RUN_STATES]
            mine = [run for run in busy if (run["conf"] or {}).get("version") in (None, version)]
            idle_polls = 0 if busy else idle_polls + 1
            ended = len(busy) == len(mine) and (bool(mine) or idle_polls >= IDLE_POLLS)
            return ended, ", ".join(run["dag_run_id"] for run in busy if run not in mine)

        self.progress.wait(others_ended, timeout=300, what="earlier deployments")
        busy = [run["dag_run_id"] for run in self.airflow.runs(deploy) if run["state"] not in ENDED_RUN_STATES]
        return busy[0] if busy else None

    def _rollout_state(self) -> RolloutState | None:
        try:
            return self.target.rollout(self.model)
        except AirworthyError:
            return None

    @staticmethod
    def _describe_shares(state: RolloutState) -> str:
        shadow = f", version {state.mirror} in the shadow" if state.mirror else ""
        phase = "" if state.phase in (None, "ROLLED_BACK", "SUCCEEDED", "SUPERSEDED") else f"{state.phase}: "
        return phase + ", ".join(f"version {v} {share / 100:g} %" for v, share in state.split.items()) + shadow

    def _running_tasks(self, dag_id: str, run: str) -> str:
        waits = (None, *ENDED_RUN_STATES, "skipped", "upstream_failed", "removed")
        busy = [task["task_id"] for task in self.airflow.tasks(dag_id, run) if task["state"] not in waits]
        return ", ".join(dict.fromkeys(busy)) or "between two tasks"

    def _freeze_candidate(self, version: str, frozen: list[float]) -> None:
        """Stop the candidate's processes as a machine out of memory would: they stay alive but do not answer."""
        gateway = stack.running_process(self.ports.settings, "gateway")
        for child in gateway.children(recursive=True) if gateway else []:
            if "pipelines.serving.traffic.candidate_process" in child.cmdline() and child.status() != "stopped":
                os.kill(child.pid, signal.SIGSTOP)
                if not frozen:
                    self.progress.print_note(f"failure: the process of version {version} freezes (SIGSTOP)")
                    self.incidents.append((time.time(), "trouble", "process frozen"))
                frozen.append(time.time())

    def _run_drill(self) -> None:
        """Run the rollback drill once, as its schedule would."""
        dag_id = f"{self.model}__drill"
        if dag_id not in {dag["dag_id"] for dag in self.airflow.dags()}:
            return
        self.airflow.unpause(dag_id)
        run = self.airflow.trigger(dag_id, {})

        def ended() -> tuple[bool, str]:
            dag_run = next(each for each in self.airflow.runs(dag_id) if each["dag_run_id"] == run)
            return dag_run["state"] in ENDED_RUN_STATES, f"rollback drill {dag_run['state']}"

        self.progress.wait(ended, timeout=120, what="the rollback drill")
        for line in self.ports.ledger.entries(self.model, kind="rollback_drill")[-1:]:
            facts: dict[str, Any] = line.details["facts"]
            self.progress.print_note(
                f"rollback drill: {line.details['outcome']}, the last answer of version {line.details['stand_in']} came"
                f" {1000 * float(facts['seconds']):.0f} ms after the call ({facts['failed']} requests failed)"
            )

    def _summarize(self) -> None:
        """Draw the plot, and print what callers saw."""
        import polars as pl

        from pipelines.demo.rollout_plot import count_answers, draw, read_timeline
        from pipelines.demo.traffic import count_errors

        answers = pl.read_parquet(self.answers)
        timeline = read_timeline(self.ports.ledger.entries(self.model), self.begun)
        if any(kind == "rolled back" for _, kind, _ in self.incidents):  # these tell when traffic moved
            timeline = [mark for mark in timeline if mark[1] != "rolled back"]
        timeline = sorted([*timeline, *self.incidents])
        bins = count_answers(answers)
        bins.write_csv(self.folder / "answers.csv")
        pl.DataFrame(timeline, schema=["at", "kind", "text"], orient="row").write_csv(self.folder / "marks.csv")
        draw(answers, timeline, self.picture, title=f"{self.model}: who answered, and what went wrong")
        instead = int(bins["instead"].sum())
        summary = f"{answers.height:,} requests during the rollouts: {count_errors(answers)} errors for callers"
        self.progress.print_note(f"{summary}; the champion answered {instead} of them in the candidate's place")
        self.progress.print_note(f"the picture: {self.picture} (data beside it)")
