"""Fakes of the ports; all except the deployment target's pass the contract tests of the real adapters."""
