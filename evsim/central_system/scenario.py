"""A user's own scenario, `async def scenario(charge_point)`, from a file of theirs."""

from __future__ import annotations

import importlib.util
import inspect
import logging
import os
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from ocpp.exceptions import OCPPError

from evsim.errors import RefusedError, UserError
from evsim.ocpp_link import NotConnectedError
from evsim.ocpp_wire import explain

NAME = "scenario"

log = logging.getLogger("evsim.csms")


class Booted(Protocol):
    """A charge point that has booted or is back; the scenario gets all of csms.ChargePoint."""

    id: str
    has_booted: bool


class Scenario:
    """Plays the coroutine of a file with each charge point that boots, once for each boot.

    :param path: of the file; UserError in one line if there is no scenario in it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._play = _load(path)
        self._played: set[str] = set()

    async def play(self, charge_point: Booted) -> None:
        """Play it with one that has booted, or is back before it was over."""
        if not charge_point.has_booted and charge_point.id in self._played:
            return
        self._played.discard(charge_point.id)
        log.info("%s: the scenario begins", charge_point.id)
        try:
            await self._play(charge_point)
        except NotConnectedError:
            self._note_left(charge_point)
            return
        except (RefusedError, UserError, TimeoutError, OCPPError) as error:
            log.error(  # noqa: TRY400 - what went wrong is no fault of the program
                "%s: the scenario ended early, %s: %s",
                charge_point.id,
                _place(self._path, error),
                explain(error),
            )
        except Exception as error:
            if isinstance(error, ExceptionGroup) and error.split(NotConnectedError)[1] is None:
                self._note_left(charge_point)  # while it did several things at once
                return
            theirs = _from_file(self._path, error.__traceback__)
            log.error(  # noqa: TRY400 - without our own part of the traceback
                "%s: the scenario failed",
                charge_point.id,
                exc_info=(type(error), error, theirs),
            )
        else:
            log.info("%s: the scenario is over", charge_point.id)
        self._played.add(charge_point.id)

    @staticmethod
    def _note_left(charge_point: Booted) -> None:
        log.warning("%s: left; the scenario begins anew when it is back", charge_point.id)


def _load(path: Path) -> Callable[[Any], Awaitable[None]]:
    if not path.is_file():
        raise UserError(f"there is no scenario {path}")
    spec = importlib.util.spec_from_file_location(NAME, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is no Python file; its name is to end with .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    sys.path.insert(0, str(path.resolve().parent))  # for what lies beside it
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        place = f"{error.filename}, line {error.lineno}" if error.lineno else path
        raise UserError(f"{place}: {error.msg}") from error
    except Exception as error:
        place = _place(path, error)
        raise UserError(f"{place}: {type(error).__name__}: {error}") from error
    play = getattr(module, NAME, None)
    wanted = f"`async def {NAME}(charge_point)`"
    if play is None:
        raise UserError(f"{path} has no {wanted}")
    if not inspect.iscoroutinefunction(play):
        raise UserError(f"{NAME} in {path} is to be {wanted}")
    try:
        inspect.signature(play).bind(object())
    except TypeError:
        raise UserError(f"{NAME} in {path} is to take one argument: {wanted}") from None
    found: Callable[[Any], Awaitable[None]] = play
    return found


def _place(path: Path, error: BaseException) -> str:
    """Say where in the file an error comes from."""
    trace = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in trace if frame.filename == os.path.abspath(path)]
    return f"{path}, line {lines[-1]}" if lines else str(path)


def _from_file(path: Path, trace: TracebackType | None) -> TracebackType | None:
    """Leave out what lies above the file's own part of a traceback."""
    ours = trace
    while trace is not None and trace.tb_frame.f_code.co_filename != os.path.abspath(path):
        trace = trace.tb_next
    return trace or ours
