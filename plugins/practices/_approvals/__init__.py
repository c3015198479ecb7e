"""What an approver is shown, and who may answer."""
