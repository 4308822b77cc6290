"""A simulated PiAPI and backup provider. Every answer says so: ``x-sandbox: 1``."""

from gateway.sandbox.scenarios import SCENARIOS, Scenario, ScenarioError
from gateway.sandbox.server import Sandbox, run_sandbox

__all__ = ["SCENARIOS", "Sandbox", "Scenario", "ScenarioError", "run_sandbox"]
