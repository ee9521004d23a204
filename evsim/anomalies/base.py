"""What every entry of the catalogue has: a frozen description, and one coroutine that plays it.

An entry plays over a Scene: those parts of a charging station that it may touch. The same entry
plays in the lab and live; who plays it writes its label, so nobody labels by eye.
"""

from __future__ import annotations

import asyncio
import enum
import math
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import can
import numpy as np

from evsim.car import Car
from evsim.charger import PLANTS, Plant, PowerModule
from evsim.errors import UserError
from evsim.events import Direction
from evsim.labels import Label

#: A reading that differs by so much from another is seen without a ruler.
VISIBLE_A = 5.0
#: The longest pause between two sessions where an anomaly needs one to begin.
LONGEST_PAUSE_S = 60.0


class Layer(enum.StrEnum):
    """Where in the station the anomaly is at home."""

    OCPP = "ocpp"
    CAN = "can"
    CHARGER = "charger"
    EV = "ev"


class Player(enum.StrEnum):
    """Which part plays an entry."""

    CENTRAL_SYSTEM = "the central system"
    OCPP_LINK = "a man in the middle on the OCPP link"
    CAN_NODE = "a node on the CAN bus"
    CAN_GATEWAY = "a gateway between the charger and the CAN bus"
    POWER_MODULE = "the power module"
    CAR = "the car"


class Severity(enum.StrEnum):
    """How strongly an anomaly is played: which value of each parameter counts."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class CatalogueError(UserError):
    """There is no such entry or parameter, or the scene lacks what an entry needs."""


@dataclass(frozen=True)
class Parameter:
    """A number that an entry is played with; `medium` is the default."""

    name: str
    unit: str
    summary: str
    low: float
    medium: float
    high: float


# ── The parts of a station, as far as entries use them ───────────────────────────────────────


class Station(Protocol):
    """A charge point as its central system commands it: evsim.central_system.station.Station.

    All methods raise RefusedError, ConnectionError, TimeoutError or OCPPError.
    """

    id: str
    running: set[int]

    async def set_limit(self, limit_a: float, connector_id: int = 1) -> None: ...
    async def remote_start(self, id_tag: str, connector_id: int = 1) -> None: ...
    async def started_transaction(self) -> int: ...
    async def remote_stop(self, transaction_id: int) -> None: ...
    async def stop_all_transactions(self) -> None: ...


class Wire(Protocol):
    """The OCPP link of one charge point in the hands of a man in the middle."""

    #: Called with each message, an OCPP-J array, and its direction; gives what is passed on in its
    #: place, or None to drop it.
    rewrite: Callable[[Direction, list[Any]], list[Any] | None] | None

    async def call(self, direction: Direction, action: str, payload: dict[str, Any]) -> None:
        """Send a CALL of our own to one end and keep its answer from the other; wait for it."""

    def cut(self) -> None:
        """Break the connection and let none come about."""

    def mend(self) -> None:
        """Let connections come about again."""


class Charger(Protocol):
    """The power module with its car: charger_module.ChargerModule."""

    module: PowerModule
    car: Car | None

    def catch_up(self) -> None:
        """Bring the physics up to now, before something is changed."""


class CanPort(Protocol):
    """A node on the CAN bus that sends what it likes."""

    def send_message(self, message: can.Message) -> bool: ...


class Gateway(Protocol):
    """Who stands between the charger and the rest of the bus."""

    #: Called with each message from the charger; gives what is passed on, or None to drop it.
    rewrite: Callable[[can.Message], can.Message | None] | None


@dataclass
class Episode:
    """One playing of an anomaly: when it was active, and when its effect could be seen, s."""

    start_s: float
    end_s: float | None = None
    effect_start_s: float | None = None
    effect_end_s: float | None = None


@dataclass
class Scene:
    """What an entry plays with; a part that is None is not here.

    :param now_s: the time of the recording, Unix s.
    :param target: the charge point that an anomaly of one charge point is about.
    :param stations: the charge points that the central system commands now, by id.
    :param cycle: one cycle of the base scenario with a charge point: csms.send_anomaly.
    :param invalidate_tag: have the central system refuse an id tag.
    :param label: takes the label of what was played.
    :param next_car: lets another car come to the target.
    """

    now_s: Callable[[], float]
    rng: np.random.Generator
    label: Callable[[Label], None]
    next_car: Callable[[], None] = lambda: None
    target: str = "CP_1"
    plant: Plant = PLANTS["dc"]
    stations: Callable[[], Mapping[str, Station]] = dict
    cycle: Callable[[Any], Awaitable[None]] | None = None
    invalidate_tag: Callable[[str], None] | None = None
    wire: Wire | None = None
    can: CanPort | None = None
    gateway: Gateway | None = None
    charger: Charger | None = None
    #: Called with the id of a charge point and each current that it measures, A.
    listeners: list[Callable[[str, float], None]] = field(default_factory=list)
    #: The last current that each charge point measured, A.
    currents_a: dict[str, float] = field(default_factory=dict)
    episode: Episode = field(default_factory=lambda: Episode(0.0))

    def hear(self, charge_point: str, current_a: float) -> None:
        """Take a reading of 0x300 (or of the meter values, where there is no CAN bus)."""
        self.currents_a[charge_point] = current_a
        for listener in self.listeners:
            listener(charge_point, current_a)

    def station(self) -> Station:
        """Give the target; ConnectionError while it is not connected."""
        stations = self.stations()
        if self.target not in stations:
            raise ConnectionError(f"{self.target} is not connected")
        return stations[self.target]

    async def until_charging(self, longest_s: float) -> None:
        """Wait until current flows at the target, but no longer than `longest_s`."""
        flows = asyncio.Event()

        def listen(charge_point: str, current_a: float) -> None:
            if charge_point == self.target and current_a >= VISIBLE_A:
                flows.set()

        self.listeners.append(listen)
        try:
            async with asyncio.timeout(max(0.0, longest_s)):
                await flows.wait()
        except TimeoutError:
            return  # it is played all the same; there may be nothing to see
        finally:
            self.listeners.remove(listen)

    def note_effect(self) -> None:
        """Take note that the effect of what is being played can be seen now."""
        if self.episode.effect_start_s is None:
            self.episode.effect_start_s = self.now_s()
        self.episode.effect_end_s = self.now_s()

    def over(self) -> None:
        """Take note that the anomaly is no longer active; its effect may last."""
        self.episode.end_s = self.now_s()

    @contextmanager
    def watching(self, is_effect: Callable[[str, float], bool]) -> Iterator[None]:
        """Take each reading of which `is_effect` is true for a visible effect."""

        def listen(charge_point: str, current_a: float) -> None:
            if is_effect(charge_point, current_a):
                self.note_effect()

        self.listeners.append(listen)
        try:
            yield
        finally:
            self.listeners.remove(listen)

    @contextmanager
    def watching_changes(self, charge_points: Collection[str] = ()) -> Iterator[None]:
        """Take each reading that is VISIBLE_A off the one before for a visible effect.

        :param charge_points: whose readings; by default those of the target.
        """
        watched = charge_points or {self.target}
        before_a = dict(self.currents_a)

        def is_change(charge_point: str, current_a: float) -> bool:
            if charge_point not in watched:
                return False
            changed = abs(current_a - before_a.get(charge_point, current_a)) >= VISIBLE_A
            before_a[charge_point] = current_a
            return changed

        with self.watching(is_change):
            yield


# ── Entries ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """An entry: data that describes it, and `play`, which plays it.

    :param summary: the mechanism, in one sentence.
    :param signature: what one will see.
    :param source: where it is published.
    :param play: called as play(scene, **parameters).
    """

    name: str
    summary: str
    signature: str
    source: str
    player: Player
    parameters: tuple[Parameter, ...]
    play: Callable[..., Awaitable[None]]

    def values(self, severity: Severity, chosen: Mapping[str, float] = {}) -> dict[str, float]:
        """Give each parameter its value: as chosen, else as the severity has it.

        Raises CatalogueError for a parameter that this entry does not have, or a value that it
        cannot have.
        """
        values = {p.name: float(getattr(p, severity)) for p in self.parameters}
        may_be_0 = {p.name for p in self.parameters if 0.0 in (p.low, p.medium, p.high)}
        for name, value in chosen.items():
            if name not in values:
                known = ", ".join(f"{p.name} ({p.unit})" for p in self.parameters) or "none"
                raise CatalogueError(f"{self.name} has no parameter {name!r}; it has: {known}")
            if not math.isfinite(value) or value < 0 or (value == 0 and name not in may_be_0):
                least = "0 or more" if name in may_be_0 else "more than 0"
                raise CatalogueError(f"{self.name}: {name} is to be {least}, not {value:g}")
            values[name] = value
        return values


@dataclass(frozen=True, kw_only=True)
class Anomaly(Behaviour):
    """An entry that detectors should notice.

    :param seen_on: what it is about: ids of CAN frames or OCPP actions, in words.
    :param fleet: it is about all charge points at once, and needs several.
    :param takes_over: it commands the charge point in place of the central system's own session.
    :param begins_session: it can only work on a session that begins while it is active.
    :param lasts_s: how long it takes at most, with its parameters, about; the pause before a
        session of its own included.
    """

    layer: Layer
    seen_on: str
    fleet: bool = False
    takes_over: bool = False
    begins_session: bool = False
    lasts_s: Callable[[Mapping[str, float]], float] = lambda values: values["duration_s"]

    @property
    def own_session(self) -> bool:
        """Whether what is going on at the target ends before it is played."""
        return self.begins_session or (self.takes_over and not self.fleet)

    @property
    def needs_current(self) -> bool:
        """Whether it would have nothing to show while the target does not charge."""
        own = self.takes_over or self.begins_session
        return not own and self.player is not Player.CAN_NODE


@dataclass(frozen=True, kw_only=True)
class Benign(Behaviour):
    """A session as an ordinary day brings it, played for ever; detectors should keep silent.

    :param state_of_charge: of a car that arrives, from and to.
    :param capacity_wh: of its battery, from and to.
    """

    state_of_charge: tuple[float, float] = (0.1, 0.4)
    capacity_wh: tuple[float, float] = (40_000.0, 80_000.0)

    def arriving_car(self, rng: np.random.Generator) -> Car:
        """Give a car as it arrives."""
        return Car(
            capacity_wh=round(rng.uniform(*self.capacity_wh)),
            state_of_charge=round(rng.uniform(*self.state_of_charge), 3),
        )


async def perform(
    anomaly: Anomaly, scene: Scene, severity: Severity, values: Mapping[str, float]
) -> None:
    """Play an anomaly and write its label, also when it is cancelled in the middle."""
    scene.episode = episode = Episode(scene.now_s())
    try:
        await anomaly.play(scene, **values)
    finally:
        end_s = scene.now_s() if episode.end_s is None else episode.end_s
        target = ";".join(sorted(scene.stations())) if anomaly.fleet else scene.target
        scene.label(
            Label(
                anomaly=anomaly.name,
                layer=anomaly.layer,
                target=target,
                t_start_s=episode.start_s,
                t_end_s=end_s,
                effect_start_s=episode.effect_start_s,
                effect_end_s=episode.effect_end_s,
                severity=severity,
            )
        )
