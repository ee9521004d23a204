"""What the documents name exists, and what exists is named."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, root_scripts

from docs import make_catalogue
from evsim.anomalies import ANOMALIES, BENIGN

README = (ROOT / "README.md").read_text("utf-8")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
PROGRAMS = ["run_all.sh", *(path.name for path in root_scripts())]
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


def help_of(program: str) -> str:
    command = [str(ROOT / program)] if program.endswith(".sh") else [sys.executable, program]
    return subprocess.run(
        [*command, "--help"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout


def options_in_readme(program: str) -> set[str]:
    (row,) = [line for line in README.splitlines() if line.startswith(f"| `{program}` | `--")]
    return set(FLAG.findall(row))


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_readme_names_each_option_and_no_other(program: str) -> None:
    assert options_in_readme(program) == set(FLAG.findall(help_of(program))) - {"--help"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_option_in_a_document_is_one_of_a_program(document: Path) -> None:
    of_certificates = {"--charge-point", "--host", "--keep-ca-key"}
    known = {"--help"} | of_certificates.union(*map(options_in_readme, PROGRAMS))
    assert set(FLAG.findall(document.read_text("utf-8"))) <= known


def test_constants_that_people_are_told_to_edit_exist_and_all_are_told() -> None:
    (table,) = re.findall(r"## To change …\n(.*?)\n## ", README, re.DOTALL)
    rows = [line for line in table.splitlines() if line.startswith("| ") and " in `" in line]
    assert len(rows) >= 5
    told: set[tuple[str, str]] = set()
    for row in rows:
        names, _, place = row.rpartition(" in `")
        place = place.split("`")[0]
        source = (ROOT / place).read_text("utf-8")
        for name in re.findall(r"`([A-Z_]{3,}|\w+\(\))`", names):
            definition = f"def {name[:-1]}" if name.endswith("()") else f"\n{name} ="
            assert definition in source or f"\n{name}:" in source, f"{name} is not in {place}"
            told.add((place, name))
    pattern = re.findall(
        r"^((?:LOW|HIGH|AFTER|STARTUP)_\w+) =", (ROOT / "csms.py").read_text(), re.M
    )
    assert {("csms.py", name) for name in pattern} <= told


def test_the_scenario_in_the_documents_is_that_of_csms() -> None:
    source = (ROOT / "csms.py").read_text("utf-8")
    constants = dict(re.findall(r"^([A-Z_]+) = ([\d.]+)", source, re.M))
    waits_s = [
        constants[f"AFTER_{step}_S"] for step in ("LOW_LIMIT", "HIGH_LIMIT", "START", "STOP")
    ]
    in_readme = re.findall(r"^\| [1-4] \|.*\| (\d+) s \|$", README, re.M)
    assert [float(wait) for wait in waits_s] == [float(wait) for wait in in_readme]
    limits = re.findall(r"SetChargingProfile, limit (\d+) A", README)
    assert limits == [constants["LOW_LIMIT_A"], constants["HIGH_LIMIT_A"]]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_files_named_exist(document: Path) -> None:
    text = document.read_text("utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    for link in links:
        assert (document.parent / link).exists(), link
    for name in re.findall(r"`((?:\./)?[\w/]+\.(?:py|sh|dbc))`", text):
        places = [ROOT / name, ROOT / "benchmarks" / name, ROOT / "evsim" / name]
        assert any(place.exists() for place in places), name


def test_each_benchmark_is_in_the_readme() -> None:
    for path in ROOT.glob("benchmarks/*_benchmark.py"):
        assert f"`{path.name}`" in README


def test_the_project_speaks_of_itself_alone() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    home = str(Path.home()) + "/"
    for name in tracked:
        path = ROOT / name
        if path.suffix in {".png", ".pdf"} or not path.is_file():
            continue
        assert home not in path.read_text("utf-8"), name


def test_the_catalogues_page_is_what_the_catalogue_says() -> None:
    assert make_catalogue.PAGE.read_text("utf-8") == make_catalogue.page(), (
        "make it anew: python -m docs.make_catalogue"
    )
    pictures = {path.stem for path in make_catalogue.PICTURES.glob("*.png")}
    assert pictures == {*ANOMALIES, *BENIGN}
