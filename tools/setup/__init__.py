"""Set-up of a checkout with a bare Python: standard library only, nothing else imported."""
