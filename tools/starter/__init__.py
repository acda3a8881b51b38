"""How the starter was made: its pictures, its models, and what they are worth."""
