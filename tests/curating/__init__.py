"""Jobs that look after pictures."""
