"""What ledger lines mean: the hash chain over them, the certificate they make, the form an approver reads."""
