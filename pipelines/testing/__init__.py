"""Fakes of the ports that ship with the product; all but the deployment target's pass the real ones' contract tests."""
