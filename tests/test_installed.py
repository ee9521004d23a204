"""Every root script: starts with a clear word where nothing is installed; has --help, a run bit."""

from __future__ import annotations

import ast
import os
import re
import sys
from pathlib import Path

import pytest
from conftest import ROOT, StartScript, root_scripts

from evsim import installed

SCRIPTS = [script.name for script in root_scripts()]
#: These say what is missing in their own way.
REPORTS_BY_ITSELF = {"test_environment.py"}
#: Without site-packages, so that nothing is installed.
BARE_PYTHON = (sys.executable, "-S", "-E")

every_script = pytest.mark.parametrize("name", SCRIPTS)


def test_there_are_scripts() -> None:
    assert {"charger_module.py", "demo_can.py", "test_environment.py"} <= set(SCRIPTS)


@pytest.mark.parametrize("name", sorted(set(SCRIPTS) - REPORTS_BY_ITSELF))
@pytest.mark.processes
def test_without_packages_it_says_how_to_get_them(name: str, start_script: StartScript) -> None:
    script = start_script(name, python=BARE_PYTHON)
    assert script.wait() == 1
    assert len(script.lines) == 1, script.output
    assert script.lines[0].startswith(f"{name}: not installed here: can, ")
    venv_exists = (ROOT / ".venv" / "bin" / "python").exists()
    assert ("activate" if venv_exists else "./run_all.sh") in script.lines[0]


@every_script
def test_an_old_python_can_read_it(name: str) -> None:
    """Else it shows a SyntaxError instead of what to do."""
    ast.parse((ROOT / name).read_text(encoding="utf-8"), feature_version=(3, 8))


@pytest.mark.parametrize("module", ["__init__", "installed", "console", "errors"])
def test_an_old_python_can_read_what_comes_first(module: str) -> None:
    source = (ROOT / "evsim" / f"{module}.py").read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 8))


@pytest.mark.parametrize("name", sorted(set(SCRIPTS) - REPORTS_BY_ITSELF))
def test_the_check_comes_first(name: str) -> None:
    tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    first, second = imports[:2]
    assert isinstance(first, ast.ImportFrom)
    assert first.module == "__future__"
    assert isinstance(second, ast.Import)
    assert second.names[0].name == "evsim.installed"


@every_script
def test_it_can_be_run_by_its_name(name: str) -> None:
    path = ROOT / name
    assert path.read_text(encoding="utf-8").startswith("#!/usr/bin/env python3\n")
    assert os.access(path, os.X_OK), f"chmod +x {name}"


@every_script
@pytest.mark.processes
def test_help_has_an_example_that_names_it(name: str, start_script: StartScript) -> None:
    script = start_script(name, "--help")
    assert script.wait() == 0
    assert "--log-level" in script.output
    assert re.search(rf"example:\n  .*{re.escape(name)}", script.output), script.output


@every_script
@pytest.mark.processes
def test_an_unknown_option_is_2(name: str, start_script: StartScript) -> None:
    script = start_script(name, "--no-such-option")
    assert script.wait() == 2
    assert "Traceback" not in script.output


def test_an_old_python_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    assert installed.complaint().startswith("this is Python 3.9, but 3.11 or newer is needed; ")


@pytest.mark.parametrize(("has_venv", "remedy"), [(True, "source .venv/bin"), (False, "-m venv")])
def test_the_remedy_fits(
    has_venv: bool, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if has_venv:
        (tmp_path / ".venv" / "bin").mkdir(parents=True)
        (tmp_path / ".venv" / "bin" / "python").touch()
    monkeypatch.setattr(installed, "ROOT", str(tmp_path))
    monkeypatch.setattr(installed, "PACKAGES", ("can", "no_such_package"))
    complaint = installed.complaint()
    assert complaint.startswith("not installed here: no_such_package; ")
    assert remedy in complaint


def test_nothing_is_missing_here() -> None:
    assert installed.complaint() == ""
