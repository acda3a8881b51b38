"""The groups of options; a job is composed of them."""
