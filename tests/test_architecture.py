"""The second law of the layout: arrows of import point down.

A new module gets a line in LAYERS, in the lowest layer that its imports allow.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import ROOT, root_scripts

SCRIPTS = "root scripts"
#: Top to bottom. A module may import from the layers below its own, and inside its own package. A
#: name ending in a dot stands for a package and all in it but what has a line of its own.
LAYERS: list[list[str]] = [
    [SCRIPTS],
    # The command lines of programs, and what can be typed in their terminals
    [
        "evsim.central_system.options",
        "evsim.central_system.terminal",
        "evsim.charge_point.options",
        "evsim.charge_point.terminal",
    ],
    # Programs too: python -m evsim.certificates, python -m evsim.recording
    ["evsim.certificates", "evsim.recording.__main__", "evsim.live."],
    ["evsim.scoring."],
    ["evsim.lab.", "evsim.logs."],
    ["evsim.prompt"],
    [
        "evsim.console",
        "evsim.play_options",
        "evsim.in_memory",
        "evsim.virtual_time",
        "evsim.recording.",
        "evsim.bus_check",
        # The shells of two packages: they put the pure parts on the OCPP link.
        "evsim.central_system.server",
        "evsim.central_system.registry",
        "evsim.central_system.scenario",
        "evsim.central_system.securing",
        "evsim.central_system.station",
        "evsim.central_system.station_verbs",
        "evsim.charge_point.session",
        "evsim.charge_point.credentials",
        "evsim.charge_point.assembly",
        "evsim.charge_point.maintenance",
        "evsim.charge_point.restarts",
        "evsim.charge_point.features.",
        "evsim.central_system.features.",
    ],
    ["evsim.can_gateway", "evsim.man_in_the_middle"],
    ["evsim.network_faults", "evsim.ocpp_client"],
    ["evsim.can_node"],
    ["evsim.bus", "evsim.ocpp_link", "evsim.figure_page"],
    [
        "evsim.anomalies.",
        "evsim.detectors.",
        "evsim.charge_point.",
        "evsim.central_system.",
        "evsim.ocpp_schemas",
    ],
    ["evsim.car", "evsim.charger"],
    # Plain values, and what knows nothing of charging.
    [
        "evsim.alarm_list",
        "evsim.authority",
        "evsim.can_timing",
        "evsim.events",
        "evsim.figure_window",
        "evsim.frames",
        "evsim.labels",
        "evsim.ocpp_wire",
        "evsim.picture_file",
        "evsim.deadline",
        "evsim.file_transfer",
        "evsim.rate_limit",
        "evsim.security",
        "evsim.sqlite",
    ],
    ["evsim", "evsim.clock", "evsim.errors", "evsim.installed", "evsim.text"],
]
#: Launchers, which run several scripts in one process.
MAY_IMPORT_SCRIPTS = {"simulate", "detect"}
#: The only file that knows CAN ids and bytes.
PROTOCOL = "evsim.frames"
CAN_IDS = {0x200, 0x201, 0x210, 0x300}


def modules() -> dict[str, Path]:
    """Every module of ours by its name: root scripts and the package."""
    found = {path.stem: path for path in root_scripts()}
    for path in sorted((ROOT / "evsim").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def layer_of(module: str) -> int:
    """Return the layer's number, 0 at the top."""
    for fits in (
        lambda name: module == name,
        lambda name: name.endswith(".") and f"{module}.".startswith(name),
    ):
        for number, names in enumerate(LAYERS):
            if any(map(fits, names)):
                return number
    if "." not in module and module != "evsim":
        return 0
    pytest.fail(f"{module} has no line in LAYERS of {Path(__file__).name}")


def imported_by(module: str, source: str) -> Iterator[str]:
    """Name the modules of ours that `source` imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: write the import of {node.module} in full"
            parent = node.module or ""
            # `from evsim import console` imports a module, `from evsim.bus import open_bus` not.
            names = [
                whole if (whole := f"{parent}.{alias.name}") in MODULES else parent
                for alias in node.names
            ]
        else:
            continue
        yield from (name for name in names if name in MODULES)


def arrows() -> set[tuple[str, str]]:
    return {
        (module, name)
        for module, path in MODULES.items()
        for name in imported_by(module, path.read_text(encoding="utf-8"))
    }


def wrong(importer: str, imported: str) -> str | None:
    """Say what is wrong with an arrow, or None."""
    if "." not in imported and imported != "evsim":
        if importer in MAY_IMPORT_SCRIPTS:
            return None
        return f"{importer} imports the root script {imported}: what both need lives in evsim/"
    same_package = importer.count(".") > 1 and importer.split(".")[:2] == imported.split(".")[:2]
    if same_package or layer_of(importer) < layer_of(imported):
        return None
    if imported.startswith(importer + "."):  # a package's __init__ and what is in it
        return None
    return f"{importer} imports {imported}, which is not below it"


def test_arrows_of_import_point_down() -> None:
    problems = [problem for arrow in sorted(arrows()) if (problem := wrong(*arrow))]
    assert not problems, "\n".join(problems)


def test_every_module_has_its_layer() -> None:
    for module in MODULES:
        layer_of(module)


@pytest.mark.parametrize(
    ("importer", "imported", "is_wrong"),
    [
        ("cp", "evsim.bus", False),
        ("cp", "csms", True),
        ("simulate", "csms", False),
        ("evsim.bus", "cp", True),
        ("evsim.bus", "evsim.frames", False),
        ("evsim.frames", "evsim.bus", True),
        ("evsim.bus", "evsim.ocpp_link", True),
        ("evsim.charge_point.meter", "evsim.charge_point.profiles", False),
        ("evsim.charge_point.meter", "evsim.central_system.registry", True),
    ],
)
def test_the_law_itself(importer: str, imported: str, is_wrong: bool) -> None:
    assert bool(wrong(importer, imported)) is is_wrong


def test_there_are_no_cycles() -> None:
    below: dict[str, set[str]] = {}
    for importer, imported in arrows():
        below.setdefault(importer, set()).add(imported)
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in done:
            for imported in sorted(below.get(module, ())):
                visit(imported, [*path, module])
            done.add(module)

    for module in MODULES:
        visit(module, [])


def test_only_frames_knows_the_bytes() -> None:
    for module, path in MODULES.items():
        if module == PROTOCOL:
            continue
        source = path.read_text(encoding="utf-8")
        for number, line in enumerate(source.splitlines(), 1):
            code = line.partition("#")[0]
            for can_id in CAN_IDS:
                written = f"0x{can_id:x}"
                if written in code.lower():
                    assert is_in_text(source, number), f"{module}, line {number}: {written}"


def is_in_text(source: str, line: int) -> bool:
    """Whether that line is inside a string: words for people, not a number for the program."""
    return any(
        node.lineno <= line <= (node.end_lineno or node.lineno)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def test_the_layers_do_not_overlap() -> None:
    names = sorted(name for layer in LAYERS for name in layer)
    assert all(one != other for one, other in pairwise(names))
