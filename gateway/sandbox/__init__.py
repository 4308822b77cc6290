"""A simulated PiAPI and backup provider. Every answer says so: ``x-sandbox: 1``."""

from gateway.sandbox.faults.parsing import ScenarioError
from gateway.sandbox.faults.scenarios import SCENARIOS, Scenario
from gateway.sandbox.server.sandbox import Sandbox, run_sandbox

__all__ = ["SCENARIOS", "Sandbox", "Scenario", "ScenarioError", "run_sandbox"]
