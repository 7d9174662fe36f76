"""Peak memory of the steps on input that was made to exhaust them."""
