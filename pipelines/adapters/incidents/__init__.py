"""Incidents and their outbox, beside the ledger."""
