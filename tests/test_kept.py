"""What a charge point has answered is on disk, whenever its program is killed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, StartScript
from kept_in_a_hurry import ENTRIES, Kept

SEED = 20260101
ROUNDS = 5

pytestmark = pytest.mark.processes


def test_what_was_answered_is_kept_over_a_kill(start_script: StartScript, tmp_path: Path) -> None:
    rng = np.random.default_rng(SEED)
    env: dict[str, str | None] = {"PYTHONPATH": str(ROOT)}
    path = tmp_path / "cp.sqlite"
    for _ in range(ROUNDS):
        program = start_script("tests/kept_in_a_hurry.py", str(path), env=env)
        for _ in range(int(rng.integers(1, 40))):
            program.wait_for("answered")
        program.kill()
        answered = int(program.lines[-1].removeprefix("answered "))
        kept = Kept(path)
        numbers = [kept.configuration.number("HeartbeatInterval"), kept.list.version]
        infos = [kept.list.find(f"TAG{i}") for i in range(ENTRIES)]
        listed = {info.parent_id_tag for info in infos if info}
        assert listed == {str(kept.list.version)}, "a list is taken whole or not at all"
        numbers += [int(reservation.id_tag) for reservation in kept.reservations.live()]
        cached = kept.cache.find("TAG")
        assert cached is not None
        numbers.append(int(cached.parent_id_tag or 0))
        kept.ledger.close()
        # In the order in which it makes them: those of the round that was cut off come first.
        assert numbers == sorted(numbers, reverse=True)
        assert answered <= numbers[-1] <= numbers[0] <= answered + 1
