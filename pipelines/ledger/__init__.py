"""Rules over ledger lines: hash chain, certificate, the evidence that a release requires, the approvers' form."""
