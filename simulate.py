#!/usr/bin/env python3
"""The lab: the test bench in one process on a clock that leaps, and labelled recordings of it.

What runs are the classes of csms.py, cp.py and charger_module.py, on links in memory. The same
seed makes the same files.
"""

from __future__ import annotations

import evsim.installed  # noqa: F401 - first: says how to install what is missing

import argparse
import asyncio
import contextlib
import dataclasses
import logging
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from uuid import UUID

import can
import numpy as np
from ocpp.v16.enums import AuthorizationStatus

from charger_module import ChargerModule
from cp import ChargePoint
from csms import CentralSystem, repeat_anomaly, send_anomaly
from csms import ChargePoint as ConnectedChargePoint
from evsim import console, virtual_time
from evsim.anomalies import ANOMALIES, BENIGN
from evsim.anomalies.base import Player, Scene, perform
from evsim.anomalies.stage import Background, play_in_front
from evsim.can_gateway import CanGateway
from evsim.central_system.id_tags import IdTag
from evsim.central_system.ledger import Ledger as CentralLedger
from evsim.charge_point.ledger import Ledger
from evsim.charger import PLANTS, PowerModule
from evsim.errors import UserError
from evsim.frames import CURRENT_PERIOD_S, FrameError, MeasuredCurrent, decode
from evsim.in_memory import InMemoryBus, InMemoryNode, websocket_pair
from evsim.lab.many_runs import alone_in, clear, make_runs, missing_runs
from evsim.lab.options import parse_arguments, run_spec
from evsim.lab.progress import progress_bar
from evsim.lab.run_spec import TAIL_S, RunSpec
from evsim.lab.suite import suite_named
from evsim.man_in_the_middle import ManInTheMiddle
from evsim.network_faults import FaultyConnection, parse_faults
from evsim.ocpp_link import Connection
from evsim.play_options import catalogue_table
from evsim.recording.describe import describe
from evsim.recording.recorder import Recorder
from evsim.sqlite import IN_MEMORY

#: When the background's first session begins, s from and to.
FIRST_SESSION_S = (5.0, 40.0)
#: Between a lost connection and the next attempt.
RECONNECT_S = (0.5, 2.0)


class Bay:
    """One charge point with its bus, its charger and its car, as a scene sees them."""

    def __init__(self, lab: Lab, charge_point_id: str, stack: ExitStack) -> None:
        spec, self.id = lab.spec, charge_point_id
        self._lab = lab
        self._rng = spec.rng(f"{charge_point_id} network")
        self._faults = parse_faults(spec.network_faults)
        self._phase_s = 0.0 if spec.throughout else self._rng.uniform(0.0, CURRENT_PERIOD_S)
        plant, anomaly = PLANTS[spec.plant], spec.played_anomaly
        player = anomaly.player if anomaly and charge_point_id == lab.target else None

        bus = own_bus = InMemoryBus()
        bus.taps.append(self._hear)
        gateway = None
        if player is Player.CAN_GATEWAY:
            own_bus = InMemoryBus()
            gateway = CanGateway(InMemoryNode(own_bus), InMemoryNode(bus))
        module = PowerModule(plant, noise_a=spec.noise_a, rng=spec.rng(f"{self.id} module"))
        cars = spec.rng(f"{self.id} cars")
        self.charger = ChargerModule(
            module, InMemoryNode(own_bus), spec.played_benign.arriving_car(cars)
        )
        self.point = ChargePoint(
            charge_point_id,
            node=InMemoryNode(bus),
            ledger=stack.enter_context(closing(Ledger(IN_MEMORY))),
            plant=plant,
            meter_interval_s=spec.meter_interval_s,
            now=lab.now,
            message_ids=message_ids(spec.rng(f"{self.id} messages")),
        )
        self.wire = ManInTheMiddle() if player is Player.OCPP_LINK else None

        def next_car() -> None:
            self.charger.catch_up()
            self.charger.car = spec.played_benign.arriving_car(cars)

        self.scene = Scene(
            now_s=lab.now_s,
            rng=spec.rng(f"{self.id} scene"),
            label=lab.recorder.label,
            target=self.id,
            plant=plant,
            stations=lab.stations,
            cycle=send_anomaly,
            invalidate_tag=lab.invalidate_tag,
            next_car=next_car,
            wire=self.wire,
            can=InMemoryNode(bus) if player is Player.CAN_NODE else None,
            gateway=gateway,
            charger=self.charger,
        )

    def _hear(self, message: can.Message) -> None:
        if self._lab.is_over:
            return
        self._lab.recorder.can(self.id, message, self._lab.now_s())
        with contextlib.suppress(FrameError):  # an attacker may send what is no frame of ours
            frame = decode(message)
            if isinstance(frame, MeasuredCurrent):
                for bay in self._lab.bays:  # a fleet's anomaly looks at all charge points
                    bay.scene.hear(self.id, frame.current_a)

    async def run_charger(self) -> None:
        """Run the charger; the phase of its frames is any."""
        await asyncio.sleep(float(self._phase_s))
        await self.charger.run()

    async def keep_connected(self) -> None:
        """Connect to the central system, again and again."""
        while True:
            if self.wire is None or not self.wire.is_cut:
                ours, theirs = websocket_pair()
                connection: Connection = theirs
                if self._lab.spec.network_faults:
                    connection = FaultyConnection(theirs, self._faults, self._rng)
                await asyncio.gather(
                    self._lab.central.talk(self.id, ours), self.point.talk(connection)
                )
            await asyncio.sleep(float(self._rng.uniform(*RECONNECT_S)))


class Lab:
    """A whole test bench in virtual time, recorded; made within a running event loop."""

    def __init__(self, spec: RunSpec, recorder: Recorder, stack: ExitStack) -> None:
        self.spec = spec
        self.recorder = recorder
        #: What the parts do when they are stopped is no part of the recording.
        self.is_over = False
        self.now = virtual_time.clock()
        self._epoch_s = virtual_time.EPOCH.timestamp()
        self._loop = asyncio.get_running_loop()
        self.target = spec.charge_point_ids[int(spec.rng("target").integers(0, spec.charge_points))]
        ledger = stack.enter_context(closing(CentralLedger(IN_MEMORY)))
        self._ledger = ledger
        self.central = CentralSystem(
            ledger,
            cycles=0,
            play=self._play_throughout if spec.throughout else None,
            record=self,
            wires=lambda charge_point_id: self._bay(charge_point_id).wire,
            message_ids=message_ids(spec.rng("central system's messages")),
            now=self.now,
        )
        self.bays: list[Bay] = []
        self.bays.extend(Bay(self, name, stack) for name in spec.charge_point_ids)

    def now_s(self) -> float:
        """Return the virtual wall clock, Unix s."""
        return self._epoch_s + self._loop.time()

    def stations(self) -> dict[str, ConnectedChargePoint]:
        """Give the charge points that can be commanded now."""
        return self.central.charge_points

    def invalidate_tag(self, id_tag: str) -> None:
        """Have the central system refuse an id tag."""
        self._ledger.id_tags.set(IdTag(id_tag, AuthorizationStatus.invalid))

    def ocpp(self, charge_point_id: str, sent: bool, message: list[Any] | str) -> None:
        """Record a message."""
        if not self.is_over:
            self.recorder.ocpp(charge_point_id, sent, message, self.now_s())

    def link(self, charge_point_id: str, event: str) -> None:
        """Record the beginning or the end of a connection."""
        if not self.is_over:
            self.recorder.link(charge_point_id, event, "", self.now_s())

    def _bay(self, charge_point_id: str) -> Bay:
        return next(bay for bay in self.bays if bay.id == charge_point_id)

    def tick(self, progress: Callable[[float], None]) -> None:
        """Call `progress` each virtual minute from now on."""
        progress(min(1.0, self._loop.time() / self.spec.duration_s))
        self._loop.call_later(60.0, self.tick, progress)

    async def run(self) -> None:
        """Let the whole run for as long as it is specified."""
        tasks: list[asyncio.Task[None]] = []
        for bay in self.bays:
            tasks.append(asyncio.create_task(bay.run_charger()))
            tasks.append(asyncio.create_task(bay.point.run(bay.keep_connected())))
        if not self.spec.throughout:
            tasks.append(asyncio.create_task(self._play()))
        end = asyncio.create_task(asyncio.sleep(self.spec.duration_s))
        try:
            await asyncio.wait([end, *tasks], return_when=asyncio.FIRST_COMPLETED)
        finally:  # also after Ctrl-C: the parts need their ledgers to stop
            self.is_over = True
            for task in [end, *tasks]:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in ended:
            if isinstance(outcome, Exception):
                raise outcome
        if self._loop.time() < self.spec.duration_s:
            raise RuntimeError("a part of the lab has ended by itself")

    async def _play(self) -> None:
        """Play the benign behaviour, and the anomaly's episodes into it."""
        spec, anomaly = self.spec, self.spec.played_anomaly
        background = Background(spec.played_benign, [bay.scene for bay in self.bays])
        await asyncio.sleep(float(spec.rng("background").uniform(*FIRST_SESSION_S)))
        background.start()
        scene = self._bay(self.target).scene
        onsets_s = spec.onsets_s()
        ends_s = [*onsets_s[1:], spec.duration_s]
        for onset_s, end_s in zip(onsets_s, ends_s, strict=False):
            await asyncio.sleep(max(0.0, onset_s - self._loop.time()))
            assert anomaly is not None
            if anomaly.needs_current:
                spare_s = end_s - anomaly.lasts_s(spec.values) - TAIL_S
                await scene.until_charging(spare_s - self._loop.time())
            await play_in_front(background, anomaly, scene, spec.severity, spec.values)
        await self._loop.create_future()

    async def _play_throughout(self, charge_point: ConnectedChargePoint) -> None:
        """Play the base scenario as csms.py does, for ever."""
        anomaly = self.spec.played_anomaly
        assert anomaly is not None

        async def repeat(scene: Scene, **_: float) -> None:
            with scene.watching_changes():
                await repeat_anomaly(charge_point, None, Counter())

        scene = self._bay(charge_point.id).scene
        whole = dataclasses.replace(anomaly, play=repeat)
        await perform(whole, scene, self.spec.severity, {})


def message_ids(rng: np.random.Generator) -> Callable[[], UUID]:
    """Give a source of unique ids that are the same for the same seed."""
    return lambda: UUID(bytes=rng.bytes(16), version=4)


def simulate(
    spec: RunSpec,
    directory: Path,
    *,
    can_format: str = "log",
    force: bool = False,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Make one run's directory; UserError if it exists and not `force`.

    :param progress: called each virtual minute with the share that is done.
    """

    async def play(recorder: Recorder) -> None:
        with ExitStack() as stack:
            lab = Lab(spec, recorder, stack)
            if progress is not None:
                lab.tick(progress)
            await lab.run()

    recorder = Recorder(
        directory,
        can_format=can_format,
        start_s=virtual_time.EPOCH.timestamp(),
        charge_points=spec.charge_point_ids,
        force=force,
    )
    with recorder:
        virtual_time.run(play(recorder))
        recorder.finish(spec.run_info())


# ── The program ──────────────────────────────────────────────────────────────────────────────


def make_run(spec: RunSpec, directory: Path) -> None:
    """Make one run of a suite, in a process of its own."""
    logging.disable()  # what a run has to say is in its recording
    simulate(spec, directory)


def make_one(options: argparse.Namespace) -> None:
    """Make the run that the command line asks for."""
    spec = run_spec(options)
    began_s = time.perf_counter()
    with progress_bar() as bar:
        task = bar.add_task(spec.anomaly or spec.benign, total=1.0)
        simulate(
            spec,
            options.out,
            can_format=options.can_format,
            force=options.force,
            progress=lambda share: bar.update(task, completed=share),
        )
    took_s = time.perf_counter() - began_s
    console.ready(
        f"{options.out}: {spec.duration_s / 3600:g} h of {spec.charge_points} charge point(s) in "
        f"{took_s:.1f} s, {spec.duration_s / took_s:,.0f} x real time"
    )


def make_suite(options: argparse.Namespace) -> None:
    """Make the suite that the command line asks for, or what is missing of it."""
    runs = suite_named(options.suite, options.seeds)
    directory = options.out
    with alone_in(directory), progress_bar() as bar:
        if options.force:
            clear(directory)
        missing = missing_runs(directory, runs)
        task = bar.add_task(options.suite, total=len(runs), completed=len(runs) - len(missing))
        make_runs(
            directory, missing, make_run, jobs=options.jobs, on_done=lambda _: bar.advance(task)
        )
        bar.update(task, description="describing")
        describe(
            directory,
            command=f"./simulate.py --suite {options.suite} "
            f"--seeds {options.seeds[0]}-{options.seeds[-1]}",
            tsb_ad=options.tsb_ad,
            anomalies=ANOMALIES,
            benign=BENIGN,
        )
    console.ready(f"{directory}: {len(runs)} runs, {len(missing)} of them new; see README.md there")


def main() -> int:
    """Do what the command line asks for; the exit code."""
    options = parse_arguments(__doc__)
    console.set_up_logging(options.log_level)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):  # as Ctrl-C, which asyncio knows how to take
            signal.signal(getattr(signal, name), lambda *_: signal.raise_signal(signal.SIGINT))
    if options.list:
        console.ready(catalogue_table())
        return 0
    try:
        if options.suite is not None:
            make_suite(options)
        else:
            make_one(options)
    except UserError as error:
        return console.fail(error)
    except KeyboardInterrupt:
        again = "; start again to go on where it ended" if options.suite is not None else ""
        sys.stderr.write(f"stopped{again}\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
