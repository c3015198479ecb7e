"""What ledger lines mean: hash chain, certificate, the evidence a release requires, the approver's form."""
