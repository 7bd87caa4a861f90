"""What strangers may hand in."""
