"""From a bare machine to a running DCloud, and back."""
