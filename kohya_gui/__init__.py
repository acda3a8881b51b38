"""The local web GUI: it builds job files, launches trainers and shows their runs."""
