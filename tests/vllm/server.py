"""Moved to `evals.vllm_cpu.server`; this name stays until all tests import it from there."""

from evals.vllm_cpu.server import ENVIRONMENT, Unavailable, VllmServer, environment, install, reuse

__all__ = ["ENVIRONMENT", "Unavailable", "VllmServer", "environment", "install", "reuse"]
