"""What monitoring reads of the prediction log."""
