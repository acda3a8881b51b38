"""Reads what other programs leave behind: kohya_ss settings, and what a trained file tells."""
