"""csms.py --scenario: a user's own coroutine, and each mistake that can be in its file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import ROOT, StartScript

from evsim.central_system.options import read_options
from evsim.central_system.scenario import Scenario
from evsim.errors import UserError

EXAMPLE = ROOT / "examples" / "charge_in_steps.py"


@dataclass
class Guest:
    id: str = "CP_1"
    has_booted: bool = True
    visits: int = 0


@pytest.fixture
def scenario(tmp_path: Path) -> Callable[[str], Scenario]:
    def make(text: str) -> Scenario:
        path = tmp_path / "mine.py"
        path.write_text(text)
        return Scenario(path)

    return make


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x = 1\nasync def scenario(cp:\n", "mine.py, line 2: '(' was never closed"),
        ("x = 1\ny = z\n", "mine.py, line 2: NameError: name 'z' is not defined"),
        ("import no_such_module\n", "mine.py, line 1: ModuleNotFoundError: No module named"),
        ("", "mine.py has no `async def scenario(charge_point)`"),
        ("def scenario(cp): pass", "mine.py is to be `async def scenario(charge_point)`"),
        ("scenario = 5", "mine.py is to be `async def scenario(charge_point)`"),
        ("x = 1\0", "mine.py: source code"),
        ("async def scenario(): pass", "is to take one argument"),
        ("async def scenario(a, b): pass", "is to take one argument"),
    ],
)
def test_a_file_without_a_scenario_is_one_line_that_says_where(
    scenario: Callable[[str], Scenario], text: str, problem: str
) -> None:
    with pytest.raises(UserError) as error:
        scenario(text)
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_or_is_no_python(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no scenario .*none\.py"):
        Scenario(tmp_path / "none.py")
    (tmp_path / "text").write_text("")
    with pytest.raises(UserError, match=r"its name is to end with \.py"):
        Scenario(tmp_path / "text")


def test_what_lies_beside_the_file_can_be_imported(
    scenario: Callable[[str], Scenario], tmp_path: Path
) -> None:
    (tmp_path / "beside_it.py").write_text("NUMBER = 5")
    text = "from beside_it import NUMBER\nasync def scenario(cp): cp.visits += NUMBER"
    guest = Guest()
    asyncio.run(scenario(text).play(guest))
    assert guest.visits == 5


def test_it_is_played_once_for_each_boot(scenario: Callable[[str], Scenario]) -> None:
    made = scenario("async def scenario(cp): cp.visits += 1")
    booted, back = Guest(), Guest(has_booted=False)
    asyncio.run(made.play(booted))
    asyncio.run(made.play(back))  # it is over, and the charge point has only reconnected
    assert (booted.visits, back.visits) == (1, 0)
    asyncio.run(made.play(booted))
    assert booted.visits == 2


def test_it_is_played_again_when_the_charge_point_left_in_the_middle(
    scenario: Callable[[str], Scenario], caplog: pytest.LogCaptureFixture
) -> None:
    made = scenario(
        "from evsim.ocpp_link import NotConnectedError\n"
        "async def scenario(cp):\n"
        "    cp.visits += 1\n"
        "    raise NotConnectedError('gone')\n"
    )
    back = Guest(has_booted=False)
    asyncio.run(made.play(Guest()))
    asyncio.run(made.play(back))
    assert back.visits == 1
    assert "left; the scenario begins anew when it is back" in caplog.text


def test_a_refusal_is_one_line_that_says_where(
    scenario: Callable[[str], Scenario], caplog: pytest.LogCaptureFixture
) -> None:
    made = scenario(
        "from evsim.errors import RefusedError\n"
        "async def scenario(cp):\n"
        "    raise RefusedError('the reset was answered with Rejected')\n"
    )
    asyncio.run(made.play(Guest()))
    (line,) = caplog.messages
    assert line.startswith("CP_1: the scenario ended early, ")
    assert line.endswith("mine.py, line 3: the reset was answered with Rejected")


def test_a_relative_path_says_where_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("mine.py")
    path.write_text("x = 1\ny = z\n")
    with pytest.raises(UserError, match=r"^mine\.py, line 2: NameError"):
        Scenario(path)
    path.write_text("async def scenario(cp):\n    1 / 0\n")
    asyncio.run(Scenario(path).play(Guest()))
    assert "scenario.py" not in caplog.text.split("Traceback")[1]


def test_a_charge_point_that_leaves_while_several_things_are_done_at_once_has_left(
    scenario: Callable[[str], Scenario], caplog: pytest.LogCaptureFixture
) -> None:
    made = scenario(
        "import asyncio\n"
        "from evsim.ocpp_link import NotConnectedError\n"
        "async def ask():\n"
        "    raise NotConnectedError('it left')\n"
        "async def scenario(cp):\n"
        "    async with asyncio.TaskGroup() as tasks:\n"
        "        tasks.create_task(ask())\n"
        "        tasks.create_task(ask())\n"
    )
    asyncio.run(made.play(Guest()))
    asyncio.run(made.play(Guest(has_booted=False)))  # it is back: once more
    assert caplog.text.count("left; the scenario begins anew when it is back") == 2


def test_a_bug_in_it_is_shown_with_the_traceback_of_the_file_alone(
    scenario: Callable[[str], Scenario], caplog: pytest.LogCaptureFixture
) -> None:
    made = scenario("def f():\n    return 1 / 0\nasync def scenario(cp):\n    f()\n")
    asyncio.run(made.play(Guest()))
    assert "CP_1: the scenario failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert 'mine.py", line 4, in scenario' in caplog.text
    assert "scenario.py" not in caplog.text.replace("mine.py", "").split("Traceback")[1]


@pytest.mark.parametrize(
    "others",
    [
        ["--no-anomaly"],
        ["--cycles", "3"],
        ["--benign", "plain_session"],
        ["--anomaly", "repeated_fluctuation"],
        ["--anomaly", "oscillating_limits"],
    ],
    ids=" ".join,
)
def test_nothing_else_is_played_with_it(
    others: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        read_options("", ["--scenario", "x.py", *others])
    assert end.value.code == 2
    assert "usage" in capsys.readouterr().err


# ── With real processes ──────────────────────────────────────────────────────────────────────


@pytest.mark.processes
def test_the_example_plays_with_a_real_charge_point(
    start_script: StartScript, free_port: int
) -> None:
    start_script("charger_module.py").wait_for("Listening for CAN commands")
    csms = start_script("csms.py", "--port", str(free_port), "--scenario", str(EXAMPLE))
    csms.wait_for("running on")
    start_script("cp.py", "--url", f"ws://127.0.0.1:{free_port}")
    csms.wait_for("CP_1: the scenario begins")
    csms.wait_for("CP_1: connector 1 is Charging")
    for limit_a in (60, 20):
        csms.wait_for(f"CP_1: limit {limit_a} A")
    csms.wait_for("stopped: Remote")
    csms.wait_for("CP_1: the scenario is over")
    assert csms.stop() == 0
    assert "Traceback" not in csms.output


@pytest.mark.processes
def test_a_mistake_in_the_file_ends_the_program_with_one_line(
    start_script: StartScript, tmp_path: Path
) -> None:
    path = tmp_path / "mine.py"
    path.write_text("async def scenario(cp)\n    pass\n")
    csms = start_script("csms.py", "--port", "0", "--scenario", str(path))
    assert csms.wait() == 1
    (line,) = csms.lines
    assert line == f"csms.py: {path}, line 1: expected ':'"
