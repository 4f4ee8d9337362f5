"""Claims about identifying systems, one file each."""
