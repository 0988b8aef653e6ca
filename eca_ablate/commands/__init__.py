"""What each command does, once its arguments are parsed."""

from __future__ import annotations

from eca_ablate.commands.carrying import Manner
from eca_ablate.commands.gating import write_gates
from eca_ablate.commands.running import run_experiment
from eca_ablate.commands.show import prepare_data, show_cost, show_doctor, show_plan

__all__ = ["Manner", "prepare_data", "run_experiment", "show_cost", "show_doctor", "show_plan", "write_gates"]
