"""What a model's target serves, what ledger and registry say of it, and the one place that writes it to both."""
