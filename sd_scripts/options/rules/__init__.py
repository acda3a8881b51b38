"""Rules between options; importing `rules.all_rules` registers every one of them."""
