"""What ledger lines mean: hash chain, certificate, and the form that an approver reads."""
