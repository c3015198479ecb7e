"""Fakes of the ports that ship with the product, in memory, each kept to the contract of the real one."""
