"""test_environment.py, the script for users: each check's ✅, ❌ and remedy."""

from __future__ import annotations

import importlib.metadata
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT, StartScript

import test_environment as script_module

NO_DISPLAY: dict[str, str | None] = {
    "DISPLAY": None,
    "WAYLAND_DISPLAY": None,
    "MPLBACKEND": None,
    "CAN_INTERFACE": None,
    "CAN_CHANNEL": None,
}


@pytest.mark.processes
def test_here_everything_passes(start_script: StartScript, free_port: int) -> None:
    script = start_script("test_environment.py", "--port", str(free_port), env=NO_DISPLAY)
    code = script.wait()
    failed = [line for line in script.lines if line.startswith("❌")]
    if sys.prefix == sys.base_prefix:
        assert failed == ["❌ not in a virtual environment"]
    else:
        assert (code, failed) == (0, [])
    for words in ("✅ Python 3.", "✅ numpy", "✅ CAN: all 7", "✅ port", "✅ plot", "✅ launcher"):
        assert any(line.startswith(words) for line in script.lines), words


@pytest.mark.processes
def test_a_failed_check_is_exit_code_1_with_its_remedy(start_script: StartScript) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        script = start_script("test_environment.py", "--port", str(port), env=NO_DISPLAY)
        assert script.wait() == 1
    where = script.lines.index(
        next(line for line in script.lines if line.startswith(f"❌ port {port}"))
    )
    assert script.lines[where + 1].startswith(
        f"   → end what listens there (find it: lsof -i :{port}"
    )


@pytest.mark.processes
def test_with_nothing_installed_it_reports_instead_of_failing(
    start_script: StartScript, free_port: int
) -> None:
    script = start_script(
        "test_environment.py", "--port", str(free_port), python=(sys.executable, "-S", "-E")
    )
    assert script.wait() == 1
    assert "Traceback" not in script.output
    for package in script_module.pinned_versions():
        assert any(
            line.startswith(f"❌ {package} ") and line.endswith("not installed")
            for line in script.lines
        ), package
    for start in ("✅ Python", "❌ CAN: cannot be tried", "✅ port", "❌ plot", "✅ launcher"):
        assert any(line.startswith(start) for line in script.lines), start
    failures = sum(line.startswith("❌") for line in script.lines)
    assert failures == sum(line.startswith("   → ") for line in script.lines)


@pytest.mark.processes
def test_pytest_collects_nothing_from_it() -> None:
    collected = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "test_environment.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert collected.returncode == 5, collected.stdout  # pytest's code for "no tests"


def test_the_pins_are_read_from_their_one_home() -> None:
    pins = script_module.pinned_versions()
    assert pins["python-can"] == importlib.metadata.version("python-can")
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert len(pins) == sum("==" in line for line in lines)


def test_every_direct_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {text.split(">")[0].split("[")[0] for text in project["dependencies"]}
    assert names == set(script_module.pinned_versions())
    oldest = ".".join(map(str, script_module.OLDEST_PYTHON))
    assert project["requires-python"] == f">={oldest}"


def test_another_version_is_not_the_pinned_one() -> None:
    with pytest.raises(script_module.CheckFailed, match=r"but 0\.0\.1 is pinned") as caught:
        script_module.check_package("numpy", "0.0.1")
    assert "pip install -r requirements.txt" in caught.value.remedy
    with pytest.raises(script_module.CheckFailed, match="is not installed"):
        script_module.check_package("no-such-package", "1")


def test_an_old_python_and_no_virtual_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    with pytest.raises(script_module.CheckFailed, match=r"Python 3\.9\.1, 3\.11 or newer"):
        script_module.check_python()
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    with pytest.raises(script_module.CheckFailed, match="not in a virtual environment"):
        script_module.check_virtual_environment()


@pytest.mark.parametrize(
    ("display", "programs", "found"),
    [
        (True, ["bash", "xterm", "konsole", "tmux"], "konsole"),
        (True, ["bash", "xterm"], "xterm"),
        (True, ["bash", "tmux"], "tmux"),
        (False, ["bash", "xterm", "tmux"], "tmux"),
        (False, ["bash"], "--headless"),
    ],
)
def test_the_launcher_is_the_one_run_all_takes(
    display: bool,
    programs: list[str],
    found: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for program in programs:
        (tmp_path / program).touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":9" if display else "")
    assert found in script_module.check_launcher()


def test_no_bash_is_no_launcher(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(script_module.CheckFailed, match="no bash"):
        script_module.check_launcher()
