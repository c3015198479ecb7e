"""Fakes of the ports that ship with the product, held to the contracts of the real ones."""
